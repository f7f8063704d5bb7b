"""The state of the mesh as a token for some of its streams may see it."""

import msgspec

from schemas.commands import MeshStatus
from schemas.events import OF_JOBS, Event
from schemas.ids import COMPOUND_SEPARATOR
from schemas.mix_resources import MixSpec
from schemas.resources import Presence
from services.webrtc_gateway.auth.grant import Grant

_OF_MACHINES = "io-signal"


def visible_status(status: MeshStatus, grant: Grant) -> MeshStatus:
    """Without the streams that are none of the asker's business; of services only that they are there."""
    if grant.sees_all:
        return status
    return msgspec.structs.replace(
        status,
        services=tuple(_briefly(presence) for presence in status.services),
        streams=tuple(entry for entry in status.streams if grant.covers(entry.spec.stream)),
        renditions=tuple(entry for entry in status.renditions if grant.covers(entry.spec.stream)),
        outputs=tuple(entry for entry in status.outputs if grant.covers(entry.spec.stream)),
        mixes=tuple(entry for entry in status.mixes if covers_mix(grant, entry.spec)),
    )


def covers_mix(grant: Grant, spec: MixSpec) -> bool:
    """Whether the asker may know what a mix is made of: it, and every stream that it shows."""
    schemes = (one.source.partition("://") for one in spec.inputs)
    shown = {stream for scheme, _, stream in schemes if scheme == "mesh"}
    return all(grant.covers(stream) for stream in (spec.mix, *shown))


def visible_message(text: bytes, grant: Grant) -> bytes | None:
    """A message of the status feed; None: not for the asker."""
    if grant.sees_all:
        return text
    message = msgspec.json.decode(text, type=_Message)
    if message.event is not None:
        return text if _covers(grant, message.event) else None
    if message.events is not None:
        seen = [event for event in message.events if _covers(grant, event)]
        return msgspec.json.encode({"type": message.type, "events": seen})
    if message.status is not None:
        return msgspec.json.encode({"type": message.type, "status": visible_status(message.status, grant)})
    return None


class _Message(msgspec.Struct):
    type: str = ""
    status: MeshStatus | None = None
    event: Event | None = None
    events: tuple[Event, ...] | None = None


def _covers(grant: Grant, event: Event) -> bool:
    # Jobs and signals are of no stream, though a pattern may happen to fit their ids.
    if event.event.startswith(OF_JOBS) or event.service == _OF_MACHINES:
        return False
    return grant.covers(event.id.partition(COMPOUND_SEPARATOR)[0])


def _briefly(presence: Presence) -> Presence:
    return Presence(
        service=presence.service,
        node=presence.node,
        instance="",
        version=presence.version,
        pid=0,
        started_ns=presence.started_ns,
    )
