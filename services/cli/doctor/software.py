"""Python, the programs beside it, and the extras of each service."""

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Iterator

from schemas.errors import MeshError
from schemas.service_table import SERVICE_TABLE
from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine
from services.launcher.bundled_nats import nats_server_program

_OLDEST_PYTHON = (3, 11)
# What each service imports first of what only its extra brings.
_IMPORTS = {
    "capture": ("av", "simplejpeg"),
    "hw-encode": ("av", "simplejpeg"),
    "publisher": ("av", "aiortc"),
    "webrtc-gateway": ("aiortc", "aiohttp", "jwt"),
    "frame-extractor": ("av", "simplejpeg", "obstore", "aiohttp"),
    "cloud-mix-proxy": ("av", "PIL", "aiohttp"),
    "io-signal": ("re2", "pymodbus", "serial"),
}


def python(machine: Machine) -> Iterator[Finding]:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    level: Level = "ok" if sys.version_info >= _OLDEST_PYTHON else "wrong"
    yield Finding("software", "python", level, found, "use Python 3.11 or newer")
    if not machine.services:
        yield Finding("software", "services", "ok", "none here: this container is the command line alone")
        return
    missing = {
        entry.name: lacking
        for entry in machine.services
        if (lacking := [one for one in _IMPORTS[entry.name] if importlib.util.find_spec(one) is None])
    }
    there = [entry.name for entry in machine.services if entry.name not in missing]
    text, fix = f"installed: {', '.join(there) or 'none'}", "pip install 'framemesh[all]'"
    yield Finding("software", "services", "ok" if there else "wrong", text, fix)
    for entry in machine.services:
        if entry.name in missing:
            text = f"{entry.name} cannot run here: without {', '.join(missing[entry.name])}"
            yield Finding("software", entry.name, "warning", text, f"pip install 'framemesh[{','.join(entry.extras)}]'")


def programs(machine: Machine) -> Iterator[Finding]:
    if machine.services == SERVICE_TABLE:  # where one runs alone, something else starts it and the server
        try:
            yield Finding("software", "nats-server", "ok", nats_server_program())
        except MeshError as error:
            yield Finding("software", "nats-server", "warning", error.message, "pip install 'framemesh[launcher]'")
    if machine.runs("capture"):
        ffmpeg = shutil.which("ffmpeg")
        text = ffmpeg or "not found: srt:// sources need it"
        yield Finding("software", "ffmpeg", "ok" if ffmpeg else "warning", text, "sudo apt-get install ffmpeg")
    try:
        yield Finding("software", "PyAV", "ok", f"{importlib.metadata.version('av')}, with libav of its own")
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "software", "PyAV", "warning", "not found: no service of media can run here", "pip install 'framemesh[all]'"
        )
