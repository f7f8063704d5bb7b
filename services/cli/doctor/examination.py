"""All checks, run side by side, and what they come to."""

import argparse
import asyncio
import time

import msgspec

from schemas.errors import InvalidValue, MeshError, Unavailable
from schemas.mesh_file import MeshPlan
from services.cli.doctor import (
    clocks,
    containers,
    devices,
    disk,
    encoders,
    ice,
    kernel,
    limits,
    mesh,
    nats,
    ports,
    shm,
    software,
)
from services.cli.doctor.finding import GROUPS, Report, worst
from services.cli.doctor.machine import Machine
from services.cli.doctor.mesh_look import MeshLook, look_at_mesh
from services.cli.doctor.probing import Probe, examine
from services.cli.doctor.ring_needs import describe, needs_of_plan
from services.cli.doctor.shown import show
from shared.mesh_file import load_mesh_file
from shared.service import VERSION
from shared.settings import Settings, load_settings

_MESH_SHARE = 0.9  # of it: those who need the mesh say something, too
_NEED_MESH = frozenset({"shm", "containers", "clocks", "ice", "nats", "mesh"})
PROBES = (
    Probe("software", "python", software.python),
    Probe("software", "programs", software.programs),
    Probe("limits", "open files", limits.files),
    Probe("limits", "priority", limits.priority),
    Probe("kernel", "version", kernel.features),
    Probe("kernel", "locks", kernel.locks),
    Probe("kernel", "overcommit", kernel.overcommit),
    Probe("containers", "processors", containers.limits),
    Probe("containers", "memory", containers.memory),
    Probe("shm", "folder", shm.folder),
    Probe("shm", "room", shm.room),
    Probe("disk", "room", disk.room),
    Probe("disk", "writing", disk.speed),
    Probe("clocks", "NTP", clocks.synchronised),
    Probe("clocks", "other nodes", clocks.other_nodes),
    Probe("encoders", "h264", encoders.encoders),
    Probe("devices", "devices", devices.devices),
    Probe("ports", "ports", ports.ports),
    Probe("ice", "addresses", ice.hosts),
    Probe("ice", "STUN and TURN", ice.servers),
    Probe("nats", "server", nats.nats),
    Probe("nats", "certificate", nats.certificates),
    Probe("mesh", "services", mesh.services),
)


async def examination(options: argparse.Namespace) -> int:
    """Look at everything that is asked for, and print it; 1 where something is wrong, else 0."""
    began = time.monotonic()
    groups = _groups(options.only)
    if not 0 < options.deadline <= 600:
        raise InvalidValue("--deadline", options.deadline, "give more than 0 and at most 600 seconds")
    settings = load_settings(Settings, "doctor")
    plan = load_mesh_file(options.file) if options.file else None
    machine = Machine(settings=settings, mesh=_mesh(options, groups), plan=plan, deadline_seconds=options.deadline)
    if options.shm:
        return await _print_shm(machine, as_json=options.json)
    findings = await examine(machine, [probe for probe in PROBES if probe.group in groups])
    report = Report(
        worst=worst(findings),
        node=settings.node,
        version=VERSION,
        seconds=round(time.monotonic() - began, 2),
        findings=findings,
    )
    print(msgspec.json.encode(report).decode() if options.json else show(report))
    return 1 if report.worst == "wrong" else 0


def _groups(text: str) -> frozenset[str]:
    """Raises: InvalidValue: there is no such group."""
    asked = [part.strip() for part in text.split(",") if part.strip()]
    for name in asked:
        if name not in GROUPS:
            raise InvalidValue("--only", name, f"name some of {', '.join(GROUPS)}, with commas")
    return frozenset(asked or GROUPS)


def _mesh(options: argparse.Namespace, groups: frozenset[str]) -> "asyncio.Future[MeshLook | MeshError]":
    """Begun now, waited for by who needs it."""
    if groups & _NEED_MESH and not (options.shm and options.file):
        return asyncio.ensure_future(look_at_mesh(options, options.deadline * _MESH_SHARE))
    nobody: asyncio.Future[MeshLook | MeshError] = asyncio.get_running_loop().create_future()
    nobody.set_result(Unavailable("not asked"))
    return nobody


async def _print_shm(machine: Machine, *, as_json: bool) -> int:
    """Of the file, else of the mesh that runs, else of an empty one."""
    needs = shm.needs_of(machine, await machine.look())
    if needs is None:
        capture, encode = shm.ring_settings(machine)
        needs = needs_of_plan(MeshPlan(), capture, encode)
    print(msgspec.json.encode(needs).decode() if as_json else describe(needs))
    return 0
