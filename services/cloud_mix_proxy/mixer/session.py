"""A mixer at work: layouts come, are prepared and shown; how it goes is told."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from schemas.errors import MeshError
from schemas.ids import Id
from services.cloud_mix_proxy.mixer.inputs import StreamInput
from services.cloud_mix_proxy.mixer.loop import LEAD_NS, MixLoop
from services.cloud_mix_proxy.mixer.output import MixOutput
from services.cloud_mix_proxy.mixer.preparing import Prepared, check_room, prepare
from services.cloud_mix_proxy.mixer.protocol import Applied, FromMixer, Layout, Refused, Report, Setup, Still
from shared.bus import Bus
from shared.demand import Wants

_SEEN_SECONDS: Final = 15.0  # a layout is seen after two pictures; beyond, something hangs
_STOP_SECONDS: Final = 1.0  # for the picture that is being made
_MARGIN_NS: Final = 25_000_000
"""Half of a picture's time, which a picture may be ahead; and for the bus and an event loop that is busy."""
_MOST_STILLS: Final = 64
"""More than two layouts have; of those that none names the oldest go."""


class MixSession:
    """Belongs to the event loop. When `failure` is set it makes no more pictures."""

    def __init__(self, bus: Bus, setup: Setup, epoch: int, tell: Callable[[FromMixer], None]) -> None:
        self._bus, self._setup, self._tell = bus, setup, tell
        self._shm_dir = Path(setup.shm_dir)
        self._wants = Wants(bus)
        self._loop = asyncio.get_running_loop()
        self._stills: dict[str, bytes] = {}
        self._streams: dict[Id, StreamInput] = {}
        self._left_out: Counter[str] = Counter()
        """Of streams that are not followed any more."""
        self._seen = asyncio.Event()
        self._reported_s, self._reported_pictures = time.monotonic(), 0
        self._output = MixOutput(
            bus, node=setup.node, mix=setup.mix, epoch=epoch, shm_dir=self._shm_dir, slots=setup.ring_slots
        )
        self._mixing = MixLoop(
            self._output,
            delay_ns=setup.delay_ms * 1_000_000,
            threads=setup.threads,
            applied=lambda prepared: self._from_thread(self._applied, prepared),
            failed=lambda error: self._from_thread(self._failed, error),
        )
        self.failure: asyncio.Future[BaseException] = self._loop.create_future()

    def take_still(self, still: Still) -> None:
        """Keep it for the layouts that follow."""
        self._stills[still.digest] = still.data
        while len(self._stills) > _MOST_STILLS:
            del self._stills[next(iter(self._stills))]

    async def show(self, layout: Layout) -> None:
        """Have it seen from one picture to the next, or say why not.

        Raises:
            TimeoutError: no picture is made any more.
        """
        opened: dict[Id, StreamInput] = {}
        try:
            prepared = await asyncio.to_thread(prepare, layout, self._stills)
            now = self._mixing.now
            if now is None or now.prepared.geometry != prepared.geometry:
                check_room(self._shm_dir, prepared.geometry, self._setup.ring_slots)
            for stream in sorted({*layout.streams.values()} - self._streams.keys()):
                opened[stream] = self._input(stream)
                await opened[stream].open(self._wants, f"mix-{self._setup.mix}")
        except MeshError as error:
            await _close(opened.values())
            self._keep_stills()  # before the answer: whoever has it sends those of the next one
            self._tell(Refused(revision=layout.revision, error=error.info))
            return
        self._streams |= opened
        self._seen.clear()
        self._mixing.show(prepared, dict(self._streams))
        async with asyncio.timeout(_SEEN_SECONDS):
            await self._seen.wait()
        unused = self._streams.keys() - layout.streams.values()
        gone = [self._streams.pop(stream) for stream in unused]
        self._left_out = sum((stream.left_out for stream in gone), self._left_out)
        await _close(gone)
        self._keep_stills()

    def report(self) -> None:
        """Tell how it goes."""
        mixing, output, now = self._mixing, self._output, time.monotonic()
        passed_s, self._reported_s = now - self._reported_s, now
        made, self._reported_pictures = output.pictures - self._reported_pictures, output.pictures
        running = mixing.now
        left_out = sum((one.left_out for one in self._streams.values()), self._left_out)
        self._tell(
            Report(
                inputs=running.inputs() if running else (),
                fps=round(made / passed_s, 2) if passed_s > 0 else 0.0,
                pictures=output.pictures,
                late=mixing.counts.late,
                ring_full=mixing.counts.ring_full,
                overwritten=mixing.counts.overwritten,
                slow_tiles=mixing.counts.slow_tiles,
                overflown=left_out["overflown"],
                unmade_sound=mixing.sound.left_out,
                late_sound=left_out["late_sound"],
                unusable_sound=left_out["unusable_sound"],
                lateness_p99_ms=mixing.counts.take_lateness_ms(),
            )
        )

    async def close(self) -> None:
        """End the stream: its demand is withdrawn and its ring goes."""
        await asyncio.to_thread(self._mixing.stop, _STOP_SECONDS)
        await _close(self._streams.values())
        await self._wants.close()
        self._output.close()

    def _keep_stills(self) -> None:
        """Those of the layout that is seen: who sends the next one counts on them, and on no others."""
        now = self._mixing.now
        named = {*now.prepared.layout.stills.values()} if now is not None else set[str]()
        self._stills = {digest: data for digest, data in self._stills.items() if digest in named}

    def _input(self, stream: Id) -> StreamInput:
        setup = self._setup
        return StreamInput(
            self._bus,
            node=setup.node,
            stream=stream,
            shm_dir=self._shm_dir,
            within_ns=max(0, setup.delay_ms * 1_000_000 - LEAD_NS - _MARGIN_NS),
            lost_after_ns=setup.lost_after_ms * 1_000_000,
        )

    def _from_thread(self, call: Callable[[Any], None], what: object) -> None:
        self._loop.call_soon_threadsafe(call, what)

    def _applied(self, prepared: Prepared) -> None:
        self._seen.set()
        self._tell(Applied(revision=prepared.layout.revision, boxes=prepared.scene.boxes))

    def _failed(self, error: BaseException) -> None:
        if not self.failure.done():
            self.failure.set_result(error)


async def _close(streams: Iterable[StreamInput]) -> None:
    for stream in streams:
        await stream.close()
