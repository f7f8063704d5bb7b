"""The services of the mesh: of one version, well, and within one shared memory."""

import asyncio
import ipaddress
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from schemas.resources import Presence
from schemas.service_table import SERVICE_TABLE
from services.cli.doctor.finding import Finding
from services.cli.doctor.machine import EVERY_ADDRESS, Machine
from shared import healthcheck
from shared.service import VERSION

_RESTARTS = 3  # so often, and there is something wrong


async def services(machine: Machine) -> AsyncIterator[Finding]:
    mesh = await machine.look()
    if mesh is None:
        return
    if not mesh.present:
        start = "framemesh up" if machine.services else "docker compose up --detach"
        yield Finding("mesh", "services", "warning", "none are running", start)
        return
    by_node: dict[str, list[Presence]] = defaultdict(list)
    for presence in mesh.present:
        by_node[presence.node].append(presence)
    for node, there in sorted(by_node.items()):
        counted = Counter(presence.service for presence in there)
        names = (name if count == 1 else f"{name} ×{count}" for name, count in sorted(counted.items()))
        yield Finding("mesh", f"node {node}", "ok", ", ".join(names))
    missing = [entry.name for entry in SERVICE_TABLE if all(p.service != entry.name for p in mesh.present)]
    if missing:
        text = f"running nowhere: {', '.join(missing)}"
        start = f"python -m services.{missing[0].replace('-', '_')}"
        if not machine.services:
            start = f"docker compose up --detach {missing[0]}"
        yield Finding("mesh", "services", "warning", text, start)
    for finding in _versions(mesh.present):
        yield finding
    for presence in mesh.present:
        if presence.restarts >= _RESTARTS:
            text = f"{presence.service} on {presence.node} was started again {presence.restarts} times"
            yield Finding("mesh", "restarts", "warning", text, f"framemesh fleet logs {presence.service}")
    own = [presence for presence in mesh.present if presence.node == machine.settings.node]
    for presence in own:
        if presence.shm_domain and presence.shm_domain != str(machine.settings.shm_dir):
            text = (
                f"{presence.service} has its rings in {presence.shm_domain}, this shell in {machine.settings.shm_dir}"
            )
            yield Finding("mesh", "shared memory", "warning", text, f"export FRAMEMESH_SHM_DIR={presence.shm_domain}")
            break
    answers = await asyncio.gather(*(asyncio.to_thread(_health, presence) for presence in own))
    for presence, answer in zip(own, answers, strict=True):
        if answer:
            fix = f"kill {presence.pid}  # it comes back"
            if _elsewhere(presence):  # the number is of another container
                fix = f"framemesh fleet restart {presence.service}; or docker compose restart {presence.service}"
            yield Finding("mesh", presence.service, "wrong", f"it is ill: {answer}", fix)
    if own and not any(answers):
        yield Finding("mesh", "health", "ok", f"all {len(own)} services of this node say that they are well")


def _versions(present: tuple[Presence, ...]) -> list[Finding]:
    versions: dict[str, list[str]] = defaultdict(list)
    for presence in present:
        versions[presence.version].append(f"{presence.service}@{presence.node}")
    if set(versions) == {VERSION}:
        return [Finding("mesh", "versions", "ok", f"all of {VERSION}")]
    most = max(versions, key=lambda version: len(versions[version]))
    others = "; ".join(
        f"{version}: {', '.join(sorted(who))}" for version, who in sorted(versions.items()) if version != most
    )
    text = f"this is {VERSION}, the mesh {most}" if not others else f"most are {most}, but {others}"
    return [
        Finding("mesh", "versions", "warning", text, f"pip install 'framemesh=={max(versions)}'; then restart them")
    ]


def _health(presence: Presence) -> str:
    """Why it is ill; empty: it is not, or its metrics are not for us."""
    url = urlsplit(presence.metrics_url)
    if not url.hostname or not url.port:
        return ""
    host = url.hostname
    if _elsewhere(presence):
        host = presence.hostname if host in EVERY_ADDRESS else host
        try:
            if ipaddress.ip_address(socket.gethostbyname(host)).is_loopback:  # its own, not ours
                return ""
        except (OSError, ValueError):  # Docker's network knows the name, and we are not in it
            return ""
    return healthcheck.trouble(host, url.port, ready=True)


def _elsewhere(presence: Presence) -> bool:
    """In another container of this node."""
    return bool(presence.hostname) and presence.hostname != socket.gethostname()
