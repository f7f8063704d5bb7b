"""Check whether this machine is ready for a mesh, and say what to do where it is not.

examples:
  framemesh doctor
  framemesh doctor --json
"""

import argparse
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from schemas.errors import MeshError
from services.cli.connection import add_nats_argument, connected
from services.launcher.bundled_nats import nats_server_program
from services.launcher.ports import HTTP_PORT, NATS_PORT, UDP_PORT
from shared.settings import Settings, load_settings
from shared.urls import redact

HELP = "check this machine"
_SLOTS = 8
_PROBE_SECONDS = 30.0  # a graphics driver that wakes up may need some
# Enough for one 4K stream in a ring of eight, which is what most machines will see at most.
_WISHED_SHM_BYTES = 3840 * 2160 * 3 // 2 * _SLOTS
_WISHED_DISK_BYTES = 1 << 30


class Finding(msgspec.Struct, frozen=True):
    check: str
    ok: bool
    found: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    settings = load_settings(Settings, "doctor")
    findings = [finding for check in _CHECKS for finding in check(settings)]
    findings.append(await _nats(options))
    if options.json:
        print(msgspec.json.encode(findings).decode())
    else:
        for finding in findings:
            print(f"{'✓' if finding.ok else '✗'} {finding.check:<22} {finding.found}")
            if not finding.ok:
                print(f"  → {finding.fix}")
    return 0 if all(finding.ok for finding in findings) else 1


def _python(_settings: Settings) -> Iterator[Finding]:
    yield Finding("python", sys.version_info >= (3, 11), sys.version.split()[0], "use Python 3.11 or newer")


def _memory(settings: Settings) -> Iterator[Finding]:
    folder = _existing(settings.shm_dir)
    free = shutil.disk_usage(folder).free
    yield Finding(
        "shared memory",
        free >= _WISHED_SHM_BYTES and os.access(folder, os.W_OK),
        f"{free >> 20} MiB free in {settings.shm_dir}",
        f"one 4K stream needs {_WISHED_SHM_BYTES >> 20} MiB: enlarge that tmpfs, or set FRAMEMESH_SHM_DIR",
    )


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = _existing(settings.data_dir)
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk",
        free >= _WISHED_DISK_BYTES and os.access(folder, os.W_OK),
        f"{free >> 30} GiB free in {settings.data_dir}",
        "make room, or set FRAMEMESH_DATA_DIR",
    )


def _programs(_settings: Settings) -> Iterator[Finding]:
    try:
        yield Finding("nats-server", True, nats_server_program())
    except MeshError as error:
        yield Finding("nats-server", False, "not found", error.message)
    ffmpeg = shutil.which("ffmpeg")
    yield Finding("ffmpeg", ffmpeg is not None, ffmpeg or "not found", "srt:// sources need it: install ffmpeg")


def _encoders(_settings: Settings) -> Iterator[Finding]:
    # In a process of its own: libav need not be installed where the command line is, and a driver may crash.
    command = [sys.executable, "-m", "services.hw_encode.probe"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=True)
    except (subprocess.SubprocessError, OSError):
        yield Finding("encoder", False, "could not be tried", "pip install 'framemesh[hw-encode]'")
        return
    result = msgspec.json.decode(done.stdout)
    yield Finding("encoder", result["ok"], result["found"], "install a build of PyAV with libx264")


def _extraction(_settings: Settings) -> Iterator[Finding]:
    missing = [name for name in ("av", "simplejpeg", "obstore", "aiohttp") if importlib.util.find_spec(name) is None]
    found = f"without {', '.join(missing)}" if missing else "pictures out of videos: framemesh extract"
    yield Finding("frame-extractor", not missing, found, "pip install 'framemesh[frame-extractor]'")


def _cameras(_settings: Settings) -> Iterator[Finding]:
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    yield Finding("cameras", True, ", ".join(devices) or "no /dev/video* (network cameras need none)")


def _ports(settings: Settings) -> Iterator[Finding]:
    for what, port, kind in (
        ("NATS port", NATS_PORT, socket.SOCK_STREAM),
        ("HTTP port", HTTP_PORT, socket.SOCK_STREAM),
        ("WebRTC port", UDP_PORT, socket.SOCK_DGRAM),
    ):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((settings.bind, port))
                yield Finding(what, True, f"{port} is free")
            except OSError:
                yield Finding(what, True, f"{port} is in use (by a running mesh, or use --auto-ports)")


async def _nats(options: argparse.Namespace) -> Finding:
    try:
        async with connected(options) as bus:
            return Finding("mesh", True, f"a NATS server answers at {redact(bus.url)[0]}")
    except MeshError:
        return Finding("mesh", True, "none is running here; `framemesh up` starts one")


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python,
    _memory,
    _disk,
    _programs,
    _encoders,
    _extraction,
    _cameras,
    _ports,
)
