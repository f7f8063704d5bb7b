"""Which capture has a camera, whether it answers, and its end where it does not."""

import logging

from schemas.capture_commands import StreamStats
from schemas.commands import MeshStatus, StreamEntry
from schemas.errors import MeshError, NotFound
from schemas.fleet import FleetList, FleetMember
from schemas.resources import Presence
from shared.clients.smartvision.connection import ask, mesh
from shared.clients.smartvision.inventory import KnownCamera
from shared.clients.smartvision.log import say

_SERVICE = "capture"
_RESTART_SECONDS = 20.0  # what hangs is given ten to end by itself


def owner_of(status: MeshStatus, entry: StreamEntry) -> Presence | None:
    """The capture that has the stream; None: it is not there."""
    number = entry.actual.instance if entry.actual else 1
    for one in status.services:
        if (one.service, one.node, one.number) == (_SERVICE, entry.spec.node, number):
            return one
    return None


def answers_now(camera: KnownCamera) -> bool:
    """Whether the capture that has the camera answers for it."""
    try:
        ask(f"{_SERVICE}.{camera.stream}.stats", StreamStats)
    except MeshError:
        return False
    return True


def restart_owner(camera: KnownCamera) -> None:
    """End the process or the container that has the camera, and have it started again.

    Raises:
        NotFound: it is not known which one that is.
        Unavailable: nobody answers for the node's processes, or this user may not ask.
    """
    entry = camera.entry
    if entry is None or entry.actual is None:
        raise NotFound(f"camera {camera.index}: no capture has it; framemesh fleet ps shows what runs")
    fleet = f"fleet.{entry.spec.node}"
    owner = owner_of(mesh().status(), entry)
    members = ask(f"{fleet}.ps", FleetList, service=_SERVICE).members
    found = [one for one in members if _is(one, owner, entry.actual.instance)]
    if len(found) != 1:
        raise NotFound(f"camera {camera.index}: it is not clear which capture has it; framemesh fleet ps shows them")
    (member,) = found
    name = member.container or f"process {member.pid}"
    say(logging.WARNING, "camera %d: %s hangs and is started again", camera.index, name)
    ask(
        f"{fleet}.restart",
        FleetList,
        service=_SERVICE,
        instance=member.instance,
        by="smartvision",
        wait_s=_RESTART_SECONDS,
    )


def _is(member: FleetMember, owner: Presence | None, number: int) -> bool:
    """Whether a process or container is the one that has number `number`, and shows this presence if any does."""
    if member.backend == "processes":
        return member.instance == number
    # Compose counts in its own way. Who has hung for long shows no presence any more, and is not well.
    return member.hostname == owner.hostname if owner else member.health != "ready"
