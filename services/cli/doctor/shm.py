"""Shared memory: a tmpfs, large enough for the rings of the mesh, and ours to write."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from schemas.resources import VideoInfo
from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine, existing
from services.cli.doctor.mesh_look import MeshLook
from services.cli.doctor.mounts import mount_of
from services.cli.doctor.ring_needs import CaptureRings, ShmNeeds, needs_of_plan, shm_needs
from shared.packet_ring import PacketRingSettings
from shared.ring.layout import HEADER_BYTES

_IN_MEMORY = ("tmpfs", "ramfs")
# With neither mesh.yaml nor mesh: one 4K stream in a ring of eight, which is what most machines will see at most.
_WISHED_BYTES = HEADER_BYTES + 3840 * 2160 * 3 // 2 * 8
# Docker gives a volume its size when it makes it.
_NEW_VOLUME = "docker compose down && docker volume rm framemesh_frames && docker compose up --detach"
_SET = "set FRAMEMESH_SHM_DIR to a folder on a tmpfs"


def folder(machine: Machine) -> Iterator[Finding]:
    """Whether it is memory, and ours."""
    wanted, there = machine.settings.shm_dir, existing(machine.settings.shm_dir)
    mount = mount_of(there)
    if mount is not None and mount.kind not in _IN_MEMORY:
        text = f"{wanted} lies on {mount.kind}, not in memory: every frame would be written to a disk"
        yield Finding("shm", "folder", "wrong", text, f"sudo mount -t tmpfs -o mode=1777 tmpfs {wanted}; or {_SET}")
    else:
        kind = mount.kind if mount else "a file system"
        yield Finding("shm", "folder", "ok", f"{wanted} is on {kind} of {_size(shutil.disk_usage(there).total)}")
    if os.access(there, os.W_OK | os.X_OK):
        return
    if there == wanted:
        status, group = there.stat(), there.group() if _has_name(there) else str(there.stat().st_gid)
        text = f"{there} (mode {status.st_mode & 0o7777:o}, group {group}) is not ours to write"
        yield Finding("shm", "rights", "wrong", text, f"sudo usermod -aG {group} {_user()}; then log in again")
    else:
        text = f"{wanted} is not there, and cannot be made in {there}"
        yield Finding("shm", "rights", "wrong", text, f"sudo install -d -m 2770 -o {_user()} {wanted}")


async def room(machine: Machine) -> AsyncIterator[Finding]:
    """Whether all rings fit."""
    mesh = await machine.look()
    there = existing(machine.settings.shm_dir)
    usage = shutil.disk_usage(there)
    used_bytes = _own_bytes(there) if there == machine.settings.shm_dir else 0
    needs = needs_of(machine, mesh)
    needed_bytes, whose = (_WISHED_BYTES, "one 4K stream") if needs is None else (needs.bytes, "this mesh")
    if machine.plan is not None:
        whose = "that mesh.yaml"
    level: Level = "ok" if usage.free + used_bytes >= needed_bytes else "wrong" if needs else "warning"
    text = f"{_size(usage.free + used_bytes)} for rings; {whose} needs {_size(needed_bytes)}"
    mount = mount_of(there)
    place = mount.point if mount and mount.kind in _IN_MEMORY else there
    size_bytes = needed_bytes + usage.used - used_bytes
    megabytes = -(-size_bytes >> 20)
    fix = f"sudo mount -o remount,size={megabytes}m {place}"
    if not machine.services:
        fix = f"FRAMEMESH_SHM_SIZE={megabytes}m in .env; {_NEW_VOLUME}"
    yield Finding("shm", "room", level, text, fix)


def needs_of(machine: Machine, mesh: MeshLook | None) -> ShmNeeds | None:
    """Of the mesh.yaml that was given, else of the mesh that runs, on this node; None: there is neither."""
    capture, encode = ring_settings(machine)
    if machine.plan is not None:
        return needs_of_plan(machine.plan, capture, encode)
    if mesh is None or mesh.status is None or not (mesh.status.streams or mesh.status.mixes):
        return None
    here = (None, machine.settings.node)
    seen: dict[str, VideoInfo] = {}
    for entry in mesh.status.streams:
        if entry.actual is not None and entry.actual.video is not None:
            seen[entry.spec.stream] = entry.actual.video
    return shm_needs(
        [entry.spec for entry in mesh.status.streams if entry.spec.node in here],
        [entry.spec for entry in mesh.status.renditions if entry.spec.node in here],
        [entry.spec for entry in mesh.status.mixes if entry.spec.node in here],
        capture,
        encode,
        seen,
    )


def ring_settings(machine: Machine) -> tuple[CaptureRings, PacketRingSettings]:
    """Of the two services that make rings."""
    return machine.settings_of(CaptureRings, "capture"), machine.settings_of(PacketRingSettings, "hw-encode")


def _own_bytes(folder: Path) -> int:
    """What rings take already."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_blocks * 512
        except OSError:  # a ring that has gone meanwhile, or is another user's
            continue
    return total


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())


def _has_name(path: Path) -> bool:
    try:
        path.group()
    except KeyError:
        return False
    return True
