"""One input at its place in one layout: its tile, made anew with each picture that it shows."""

from concurrent.futures import Executor, Future

import msgspec
import numpy as np
from av.video.frame import VideoFrame

from schemas.colours import ColourSpace
from schemas.frames import FrameRef
from schemas.mix_resources import Box, Crop, MixInput
from services.cloud_mix_proxy.mixer.inputs import StreamInput
from services.cloud_mix_proxy.mixer.layer import Layer
from services.cloud_mix_proxy.mixer.scaling import Scaler
from shared.media.colour.facts import after_conversion, assumed_matrix, mark
from shared.media.frames import frame_planes, picture_frame, ref_frame
from shared.pixel_formats import SUBSAMPLED, Picture
from shared.ring import Lease, LeaseError, LeaseLimit


class Place:
    """Of a stream. Belongs to the mixing thread; tiles are made in the threads of `pool`, one at a time."""

    def __init__(
        self, one: MixInput, box: Box, stream: StreamInput, scaler: Scaler, slate: Layer | None, canvas_lines: int
    ) -> None:
        self.input, self.stream, self.slate = one, stream, slate
        self._scaler, self._canvas_lines, self._box = scaler, canvas_lines, box
        self._queue = stream.follow()
        self.tile: Layer | None = None
        self.job: Future[Layer] | None = None
        self.overwritten = 0
        self.slow = 0

    def begin(self, moment_ns: int, pool: Executor) -> None:
        """Have a tile made of the picture of this moment, CLOCK_REALTIME, where it is another one than before."""
        if self.job is not None:
            self.slow += 1
            return
        lease = self._lease(moment_ns)
        if lease is not None:
            self.job = pool.submit(_tile_of, lease, self._scaler)

    def begin_with(self, former: Layer, pool: Executor) -> None:
        """Have a tile made of another layout's, where there is no picture any more."""
        self.job = pool.submit(_tile_again, former, self.input, self._box, self._canvas_lines)

    def settle(self) -> None:
        """Take the tile if it is made."""
        job = self.job
        if job is not None and job.done():
            self.job = None
            self.tile = job.result()

    def shown(self) -> Layer | None:
        """What is to be seen; None: what lies beneath."""
        state = self.stream.state
        if state == "live" or self.input.on_loss == "hold":
            return self.tile
        return self.slate

    def close(self) -> None:
        self.stream.unfollow(self._queue)

    def _lease(self, moment_ns: int) -> Lease | None:
        ref = self._queue.at(moment_ns - self.stream.offset_ns)
        while ref is not None:
            try:
                return self.stream.reader.lease(ref)
            except LeaseLimit:  # what is held is on its way
                return None
            except LeaseError:
                self.overwritten += 1
                ref = self._queue.next()
        return None


def _tile_of(lease: Lease, scaler: Scaler) -> Layer:
    with lease:
        return scaler.tile(frame_of(lease.array, lease.ref))


def frame_of(array: Picture, ref: FrameRef) -> VideoFrame:
    """In 4:2:0 of even edges, in place where it is that already, and saying what colours it has."""
    if ref.pixel_format in SUBSAMPLED and not (ref.width % 2 or ref.height % 2):
        return ref_frame(array, ref)
    made = picture_frame(array, ref, copy=False)
    mark(made, after_conversion(ref.colour_space, ref.pixel_format, "yuv420p", ref.height))
    return made


def _tile_again(former: Layer, one: MixInput, box: Box, canvas_lines: int) -> Layer:
    """The tile that another layout had, in this one's size: of an input whose pictures are gone."""
    height, width = former.planes[0].shape
    frame = VideoFrame(width, height, "yuv420p")
    # Copied: libav takes planes of its own only, and this happens once in a layout.
    for target, plane in zip(frame_planes(frame, "yuv420p"), former.planes, strict=True):
        np.copyto(target, plane)
    mark(frame, ColourSpace(matrix=assumed_matrix(canvas_lines), range="limited"))
    # It was cut when it was made.
    return Scaler(msgspec.structs.replace(one, crop=Crop()), box, canvas_lines).tile(frame)
