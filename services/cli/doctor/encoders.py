"""Encoders, really tried: in a process of its own, as libav need not be installed here and a driver may crash."""

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator

import msgspec
from msgspec import Struct

from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine

_COMMAND = (sys.executable, "-m", "services.hw_encode.probe")
_THERE = "docker compose exec hw-encode python -m services.hw_encode.probe"
_INSTALL = "pip install 'framemesh[hw-encode]'"
_NEEDED = ("h264", "libav")  # what every viewer and every output takes; there are meshes without the others


class _Tried(Struct, frozen=True):
    check: str
    ok: bool
    found: str


async def encoders(machine: Machine) -> AsyncIterator[Finding]:
    if not machine.runs("hw-encode"):
        text = f"hw-encode does not run in this container; to try there: {_THERE}"
        yield Finding("encoders", "h264", "ok", text)
        return
    if importlib.util.find_spec("av") is None:
        yield Finding("encoders", "h264", "warning", "cannot be tried: PyAV is not installed here", _INSTALL)
        return
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    told: set[str] = set()
    try:
        # One by one: what is known when the time is over counts.
        while line := await process.stdout.readline():
            tried = msgspec.json.decode(line, type=_Tried)
            told.add(tried.check)
            level: Level = "ok" if tried.ok else "wrong" if tried.check in _NEEDED else "warning"
            fix = f"install a build of PyAV with encoders of {tried.check}"
            yield Finding("encoders", tried.check, level, tried.found, fix)
        if missing := [name for name in _NEEDED if name not in told]:
            text = f"could not be tried: the process that does it ended with {await process.wait()}"
            yield Finding("encoders", missing[0], "wrong", text, "python -m services.hw_encode.probe   # says why")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
