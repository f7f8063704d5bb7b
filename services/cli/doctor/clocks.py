"""Clocks: frames of several nodes are put side by side by the time of day, and paced by the one that only goes on."""

import ctypes
import time
from collections.abc import AsyncIterator, Iterator

from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import Machine

_BUILT = 1_735_689_600.0  # 2025: a clock before that has lost its battery
_STEP_SECONDS = 0.01  # within the doctor's few seconds NTP slews by less than 2 ms
_LATE_SECONDS = 0.1  # sound and picture of two nodes are seen to be apart
_WRONG_SECONDS = 1.0  # what is cut out of recordings by the time of day is something else
_STA_UNSYNC = 0x40  # linux/timex.h
_FIX = "sudo timedatectl set-ntp true; or start chrony"

_began = (time.time(), time.monotonic())


class _Timex(ctypes.Structure):
    """The first fields of struct timex; the rest is what the kernel writes behind them."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def synchronised(_machine: Machine) -> Iterator[Finding]:
    now = time.time()
    if now < _BUILT:
        text = f"this host's clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}"
        yield Finding("clocks", "time of day", "wrong", text, _FIX)
    timex = _Timex()  # modes 0: only asked
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        yield Finding("clocks", "NTP", "ok", "not told here, as in some containers: see on the host")
    elif timex.status & _STA_UNSYNC:
        yield Finding("clocks", "NTP", "warning", "this host's clock is not synchronised with any other", _FIX)
    else:
        yield Finding("clocks", "NTP", "ok", f"synchronised, within {timex.maxerror / 1000:.0f} ms")


async def other_nodes(machine: Machine) -> AsyncIterator[Finding]:
    """Against the clock of the bus's server, which all of them see."""
    mesh = await machine.look()
    stepped = (time.time() - _began[0]) - (time.monotonic() - _began[1])
    if abs(stepped) > _STEP_SECONDS:
        text = f"the time of day was changed by {stepped:+.3f} s while the doctor looked"
        yield Finding(
            "clocks", "steadiness", "warning", text, "let NTP slew it: chrony without makestep after the start"
        )
    if mesh is None:
        return
    here = mesh.server.clock_ahead_seconds
    if here is not None:
        yield _drift("NATS server", here, "the NATS server's clock", "this host's")
    for node, ahead in sorted(mesh.clocks.items()):
        own = -here if here is not None else 0.0
        yield _drift(f"node {node}", ahead - own, f"node {node}'s clock", "this host's")


def _drift(check: str, ahead_seconds: float, whose: str, other: str) -> Finding:
    size = abs(ahead_seconds)
    level: Level = "wrong" if size >= _WRONG_SECONDS else "warning" if size >= _LATE_SECONDS else "ok"
    if level == "ok":
        return Finding("clocks", check, "ok", f"within {max(1, round(size * 1000))} ms of {other}")
    way = "ahead of" if ahead_seconds > 0 else "behind"
    return Finding("clocks", check, level, f"{whose} is {size:.1f} s {way} {other}", f"there: {_FIX}")
