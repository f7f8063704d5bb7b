"""The mixing thread: one picture and its sound at each moment, from the layout of that moment."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from services.cloud_mix_proxy.mixer.canvas import Canvas
from services.cloud_mix_proxy.mixer.counts import MixCounts
from services.cloud_mix_proxy.mixer.fade import Fade
from services.cloud_mix_proxy.mixer.inputs import StreamInput
from services.cloud_mix_proxy.mixer.layer import Layer
from services.cloud_mix_proxy.mixer.output import MixOutput
from services.cloud_mix_proxy.mixer.preparing import Prepared
from services.cloud_mix_proxy.mixer.running import Running
from services.cloud_mix_proxy.mixer.sound_output import SoundOutput
from services.cloud_mix_proxy.mixer.ticks import Ticks

log = logging.getLogger(__name__)

LEAD_NS: Final = 20_000_000
"""So long before a picture is due its tiles are begun: four of 1080p are scaled and drawn in 10 ms on two cores."""
_LEAD_SHARE: Final = 0.6  # of a period, where that is less
_CLOCK_STEP_NS: Final = 10_000_000
"""The wall clock was set when it is off by so much: it is followed at once, and else never, as sound would click."""


class MixLoop:
    """Makes pictures until stopped. `show` hands it layouts; the rest happens in its own thread."""

    def __init__(
        self,
        output: MixOutput,
        *,
        delay_ns: int,
        threads: int,
        applied: Callable[[Prepared], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """
        Args:
            applied: called in the mixing thread when a layout's first picture is written.
            failed: called there when it cannot go on.
        """
        self._output, self._delay_ns = output, delay_ns
        self._applied, self._failed = applied, failed
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="tiles")
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._next: tuple[Prepared, Mapping[str, StreamInput]] | None = None
        self.counts = MixCounts()
        self.now: Running | None = None
        """The layout that is seen. Read by others, set here."""
        self._coming: Running | None = None
        self._untold: Prepared | None = None
        """Applied, and not in the ring yet: who is told of a layout looks at the next picture."""
        self._fade: Fade | None = None
        self._canvas: Canvas | None = None
        self._shown: dict[str, Layer] = {}
        self._clock_ns = _clock()
        self._base_ns = self._clock_ns
        """What is added to CLOCK_MONOTONIC to have the stream's own timeline: the wall clock when it began."""
        self.sound = SoundOutput(output)
        self._thread = threading.Thread(target=self._run, name="mixing", daemon=True)

    def show(self, prepared: Prepared, streams: Mapping[str, StreamInput]) -> None:
        """Have a layout seen as soon as its tiles are there; begin with the first one."""
        with self._guard:
            self._next = prepared, streams
        if not self._thread.is_alive() and not self._stop.is_set():
            self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End the thread; blocks for at most `timeout_seconds`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- in the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._mix()
        except BaseException as error:  # whatever it was, the process must end of it
            self._failed(error)

    def _mix(self) -> None:
        fps = 0.0
        while not self._stop.is_set():
            self._take_next()
            wanted = self.now or self._coming
            assert wanted is not None  # it began with one
            if wanted.prepared.layout.spec.fps != fps:
                fps = wanted.prepared.layout.spec.fps
                ticks = Ticks(fps, time.monotonic_ns() + LEAD_NS)
                lead_ns = min(LEAD_NS, int(ticks.period_ns * _LEAD_SHARE))
            before = ticks.late
            due_ns = ticks.next(time.monotonic_ns())
            self.counts.late += ticks.late - before
            self._wait_until(due_ns - lead_ns)
            self._picture(due_ns, ticks.period_ns)

    def _take_next(self) -> None:
        with self._guard:
            found, self._next = self._next, None
        if found is None:
            return
        if self._coming is not None:
            self._coming.close()
        self._coming = Running(*found, self.now)

    def _picture(self, due_ns: int, period_ns: int) -> None:
        moment_ns = self._moment(due_ns)
        # It is seen for a period from then on: with the one nearest to it sound is half a period off at most.
        nearest_ns = moment_ns + period_ns // 2
        jobs = self.now.begin(nearest_ns, self._pool) if self.now else []
        jobs += self._coming.begin(nearest_ns, self._pool) if self._coming else []
        wait(jobs, max(0, due_ns - time.monotonic_ns()) / 1e9)
        if self.now:
            self.now.settle()
        if self._coming and self._coming.settle():
            self._swap(moment_ns)
        self._count_places()
        if self.now is None:  # the first layout's tiles are still made
            return
        self._draw(self.now, due_ns, moment_ns, period_ns)
        spec = self.now.prepared.layout.spec
        self.sound.until(
            due_ns - self._delay_ns + self._base_ns,
            self._clock_ns - self._base_ns,
            self.now.gains,
            channels=spec.channels if spec.sound else None,
        )

    def _moment(self, due_ns: int) -> int:
        """CLOCK_REALTIME of what is shown then."""
        clock_ns = _clock()
        if abs(clock_ns - self._clock_ns) > _CLOCK_STEP_NS:
            self._clock_ns = clock_ns
        return due_ns - self._delay_ns + self._clock_ns

    def _swap(self, moment_ns: int) -> None:
        former, self.now, self._coming = self.now, self._coming, None
        assert self.now is not None  # it was coming
        prepared = self.now.prepared
        spec, before = prepared.layout.spec, former.prepared if former else None
        fade, self._fade = self._fade, None
        if before is not None and before.geometry == prepared.geometry and spec.fade and self._canvas is not None:
            self._fade = Fade(spec, self._shown, self._canvas, moment_ns, fade)
        if before is None or (before.geometry, before.background.yuv) != (prepared.geometry, prepared.background.yuv):
            self._canvas = Canvas(prepared.geometry, prepared.background, self._output.slots)
        if former is not None:
            former.close()
        self._untold = prepared

    def _draw(self, now: Running, due_ns: int, moment_ns: int, period_ns: int) -> None:
        assert self._canvas is not None  # made with the layout
        geometry = now.prepared.geometry
        slot = self._output.acquire(geometry)
        if slot is None:
            self.counts.ring_full += 1
            return
        place = self._output.place(slot)
        self._shown = now.layers(moment_ns)
        if self._fade is not None and self._fade.over(moment_ns):
            self._fade = None
        if self._fade is not None:
            self._fade.draw(self._canvas, slot.array, self._shown, moment_ns)
            self._canvas.forget(place)
        else:
            self._canvas.draw(place, slot.array, self._shown)
        self._wait_until(due_ns)
        self._output.write(
            slot,
            pts_ns=due_ns - self._delay_ns + self._base_ns,
            captured_ns=moment_ns,
            duration_ns=period_ns,
            height=geometry.height,
        )
        self.counts.lateness_ns.append(time.monotonic_ns() - due_ns)
        if self._untold is not None:
            told, self._untold = self._untold, None
            self._applied(told)

    def _count_places(self) -> None:
        for running in (self.now, self._coming):
            for place in running.places.values() if running else ():
                self.counts.overwritten += place.overwritten
                self.counts.slow_tiles += place.slow
                place.overwritten = place.slow = 0

    def _wait_until(self, monotonic_ns: int) -> None:
        remaining_ns = monotonic_ns - time.monotonic_ns()
        if remaining_ns > 0:
            self._stop.wait(remaining_ns / 1e9)


def _clock() -> int:
    """CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds."""
    return time.time_ns() - time.monotonic_ns()
