"""Sees the mesh as its users do, all the time.

A process of its own: `python -m tests.chaos.full_load.observer FILE`. FILE holds what it is told; it writes what it has
seen beside it. SIGTERM lets it judge the jobs, and end.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from schemas.resources import Presence
from schemas.signal_resources import INPUT_STATES, SIGNAL_STATES, InputActual, InputSpec, SignalActual, SignalSpec
from schemas.subjects import frames, packets
from shared.bus import Bus, Message
from shared.desired import Desired
from shared.state import StateMirrors
from shared.status import mesh_status
from tests.chaos.full_load import pictures
from tests.chaos.full_load.flows import Flow, write_seen
from tests.chaos.full_load.invariants import Processes, Rings, Wholeness
from tests.chaos.full_load.jobs import EVERY_SECONDS, Jobs
from tests.chaos.full_load.machine import Machine
from tests.chaos.full_load.viewers import watch, watch_in_chromium

STREAMS: Final = ("cam0", "cam1", "cam2", pictures.STREAM)
MIX: Final = "wall"
ENCODED: Final = ("cam0", MIX)
SEEN: Final = "seen.json"
VIEWED: Final = ("cam0", "cam0", MIX)
"""What light viewers watch; one in Chromium watches the mix."""
_WELL: Final = frozenset({"live", "running", "off", "on", "active"})
_LOOK_SECONDS: Final = 0.1
_FOLDER_LOOK_SECONDS: Final = 1.0
_PICTURE_GAP_SECONDS: Final = 0.5  # seven pictures
_VIEWER_GAP_SECONDS: Final = 0.7
_BROWSER_GAP_SECONDS: Final = 1.0  # looked at five times a second
_STATE_GAP_SECONDS: Final = 0.5  # five looks
_JOB_GAP_SECONDS: Final = 4 * EVERY_SECONDS
_NATS_SECONDS: Final = 10.0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the observer needs to know."""

    nats_url: str
    shm_dir: str
    console: str
    clip: str
    pictures: str
    output: str
    """Control file of the signal."""
    hold: str
    """While this file is there the signal gets no pulses."""
    input_port: int
    launcher: int
    services: tuple[str, ...]
    """That must be present."""
    browser: bool
    slowness: float


class Observer:
    def __init__(self, told: Told, bus: Bus, mirrors: StateMirrors) -> None:
        self._told, self._bus, self._mirrors = told, bus, mirrors
        slow = told.slowness
        self._frames = {stream: Flow(_PICTURE_GAP_SECONDS, slow) for stream in (*STREAMS, MIX)}
        self._packets = {stream: Flow(_PICTURE_GAP_SECONDS, slow) for stream in ENCODED}
        self._viewers = [Flow(_VIEWER_GAP_SECONDS, slow) for _ in VIEWED]
        self._browser = Flow(_BROWSER_GAP_SECONDS, slow)
        self._state = Flow(_STATE_GAP_SECONDS, slow)
        self._done = Flow(_JOB_GAP_SECONDS, slow)
        self.jobs = Jobs(bus, Path(told.clip), Path(told.pictures), self._done)
        self._machine = Machine(bus, Path(told.output), told.input_port, told.slowness, Path(told.hold))
        self._wholeness = Wholeness(Path(told.shm_dir), self._frames)
        self._rings = Rings(Path(told.shm_dir))
        self._processes = Processes(told.launcher)

    async def run(self) -> None:
        """For ever."""
        for stream in (*STREAMS, MIX):
            await self._bus.subscribe(frames(pictures.NODE, stream), self._wholeness.receive)
        for stream, flow in self._packets.items():
            await self._bus.subscribe(packets(stream, "main", "video"), _arrival(flow))
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
            for work in (*self._all_the_time(), *self._watching(http)):
                tasks.create_task(work)

    def _all_the_time(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self.jobs.run()
        yield self._machine.pulse()
        yield self._machine.look()
        yield self._machine.tell()
        yield self._look_at_state()
        yield self._look_at_folders()

    def _watching(self, http: aiohttp.ClientSession) -> Iterator[Coroutine[Any, Any, None]]:
        for stream, flow in zip(VIEWED, self._viewers, strict=True):
            yield watch(http, f"{self._told.console}whep/{stream}", flow)
        if self._told.browser:
            yield watch_in_chromium(self._told.console, MIX, self._browser)

    async def _look_at_state(self) -> None:
        while True:
            if not self.unsettled():
                self._state.arrive()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look_at_folders(self) -> None:
        while True:
            self._rings.look()
            await asyncio.to_thread(self._processes.look)
            await asyncio.sleep(_FOLDER_LOOK_SECONDS)

    def unsettled(self) -> list[str]:
        """What is not as it was asked for; empty: state is desired."""
        if not self._bus.connected:
            return ["the observer has no bus"]
        status = mesh_status(self._mirrors)
        found = [f"{name} is not present" for name in self._told.services if not _is_there(name, status.services)]
        entries: list[tuple[str, int, Any]] = []
        for kind in ("streams", "renditions", "outputs", "mixes"):
            entries += [(f"{kind} {_name(one.spec)}", one.revision, one.actual) for one in getattr(status, kind)]
        signals = Desired(SIGNAL_STATES, SignalSpec, SignalActual, self._mirrors, owner="io-signal")
        inputs = Desired(INPUT_STATES, InputSpec, InputActual, self._mirrors, owner="io-signal")
        entries += [(f"signal {name}", revision, actual) for name, _, revision, actual in signals.all()]
        entries += [(f"input {name}", revision, actual) for name, _, revision, actual in inputs.all()]
        for name, revision, actual in entries:
            if actual is None:
                found.append(f"{name}: nobody has taken it up")
            elif actual.state not in _WELL and not (name.startswith("renditions") and actual.state == "idle"):
                found.append(f"{name}: {actual.state} {actual.error.message if actual.error else ''}".strip())
            elif actual.revision < revision:
                found.append(f"{name}: revision {actual.revision}, asked for is {revision}")
        return found

    def seen(self) -> dict[str, Any]:
        """For whoever looks at the file."""
        flows = {
            **{f"frames {stream}": flow for stream, flow in self._frames.items()},
            **{f"packets {stream}": flow for stream, flow in self._packets.items()},
            **{f"viewer {number}": flow for number, flow in enumerate(self._viewers, 1)},
            **({"chromium": self._browser} if self._told.browser else {}),
            "state": self._state,
            "signal": self._machine.pulses,
            "input": self._machine.lines,
            "jobs": self._done,
        }
        judges = (self._wholeness, self._rings, self._processes, self._machine)
        return {
            "at": time.monotonic(),
            "flows": {name: flow.told() for name, flow in flows.items()},
            "unsettled": self.unsettled(),
            "wrong": [line for judge in judges for line in judge.wrong],
            "counts": {
                "whole_pictures": self._wholeness.whole,
                "missed_pictures": self._wholeness.missed,
                "jobs": len(self.jobs.submitted),
                "most_rss_mib": self._processes.most_rss_bytes >> 20,
            },
        }


def _arrival(flow: Flow) -> "Any":
    def receive(_: Message) -> None:
        flow.arrive()

    return receive


def _is_there(service: str, present: tuple[Presence, ...]) -> bool:
    """It has said so, and its process lives."""
    return any(one.service == service and Path(f"/proc/{one.pid}").exists() for one in present)


def _name(spec: Any) -> str:
    parts = [getattr(spec, field, None) for field in ("stream", "mix", "rendition", "output")]
    return "/".join(part for part in parts if part)


async def observe(path: Path, told: Told) -> None:
    seen = path.with_name(SEEN)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    bus = await Bus.connect(told.nats_url, name="observer", timeout_seconds=_NATS_SECONDS)
    mirrors = await StateMirrors.open(bus)
    observer = Observer(told, bus, mirrors)
    running = asyncio.create_task(observer.run())
    ended = asyncio.create_task(ending.wait())
    try:
        while not ended.done():
            write_seen(seen, observer.seen())
            await asyncio.wait((running, ended), timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()  # it never ends by itself
        last = observer.seen()
    finally:
        running.cancel()
        ended.cancel()
        await asyncio.gather(running, ended, return_exceptions=True)
    last["wrong"] += await observer.jobs.check()
    write_seen(seen, {**last, "ended": True})
    await mirrors.close()
    await bus.drain()


if __name__ == "__main__":
    given = Path(sys.argv[1])
    asyncio.run(observe(given, msgspec.json.decode(given.read_bytes(), type=Told)))
