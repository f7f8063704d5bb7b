"""How much slower this machine is just now than the one that the limits of timing tests were set on.

A shared machine can lose half its speed to its neighbours from one hour to the next: the limit of a recovery, most of
which is a process that starts and an encoder that encodes, grows with that and with nothing else.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

# Pictures per second of 720p that libx264 ultrafast makes of noise on two quiet cores of the reference machine.
_REFERENCE_FPS = 240.0
_PICTURES = 24
_NEARLY = 0.98  # of the time, is when to ask whether there will be more
_MOST = 4.0  # a machine that slow is told of by the test that fails


@functools.cache
def slowness() -> float:
    """1.0 on the reference machine or a faster one; 2.0 where it takes twice as long. Measured once."""
    return slowness_now()


class Patience:
    """A deadline for something that nobody tells of; on a slow machine, as much later as that is slower."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()
        self._extended = False

    def is_over(self) -> bool:
        waited = time.monotonic() - self._began
        if waited > self.seconds and not self._extended:  # measured only where it matters
            self._extended = True
            self.seconds *= slowness_now()
        return waited > self.seconds


@contextlib.asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """`asyncio.timeout`, on a slow machine as much longer as that is slower."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(seconds) as limit:
        late = loop.call_at(
            began + seconds * _NEARLY, lambda: limit.reschedule(began + seconds * max(1.0, slowness_now()))
        )
        try:
            yield
        finally:
            late.cancel()


def slowness_now() -> float:
    """As `slowness`, measured anew: a third of a second of one core."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.framerate = 1280, 720, "yuv420p", 30
    context.options = {"preset": "ultrafast", "tune": "zerolatency"}
    noise = np.random.default_rng(1).integers(64, 192, (1080, 1280), np.uint8)
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        for number in range(_PICTURES):
            context.encode(av.VideoFrame.from_ndarray(np.roll(noise, number * 3, axis=1), format="yuv420p"))
        best = max(best, _PICTURES / (time.perf_counter() - began))
    return min(_MOST, max(1.0, _REFERENCE_FPS / best))
