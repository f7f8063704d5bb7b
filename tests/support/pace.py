"""How much slower this machine is just now than the one that the limits of timing tests were set on.

A shared machine can lose half its speed to its neighbours from one hour to the next: the limit of a recovery, most of
which is a process that starts and an encoder that encodes, grows with that and with nothing else.
"""

import functools
import time

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

# Pictures per second of 720p that libx264 ultrafast makes of noise on two quiet cores of the reference machine.
_REFERENCE_FPS = 240.0
_PICTURES = 24
_MOST = 4.0  # a machine that slow is told of by the test that fails


@functools.cache
def slowness() -> float:
    """1.0 on the reference machine or a faster one; 2.0 where it takes twice as long."""
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
