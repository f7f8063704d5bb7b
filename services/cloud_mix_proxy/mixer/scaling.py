"""Tiles: an input's picture, scaled to its place once, however often it is drawn."""

from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from schemas.mix_resources import Box, MixInput
from services.cloud_mix_proxy.mixer.canvas_colours import in_canvas_colours
from services.cloud_mix_proxy.mixer.corners import rounded_parts
from services.cloud_mix_proxy.mixer.layer import Layer
from services.cloud_mix_proxy.mixer.placing import place
from shared.media.frames import cropped_frame, frame_planes

_ONE_THREAD = 1  # each input is scaled in a thread of its own


class Scaler:
    """Scales the pictures of one input, one thread at a time."""

    def __init__(self, one: MixInput, box: Box, canvas_lines: int) -> None:
        """`canvas_lines`: its height, which says what colours it has."""
        self._input, self._box, self._canvas_lines = one, box, canvas_lines
        # libav prepares a scaling once per reformatter, which takes as long as a scaling does.
        self._reformatter = VideoReformatter()

    def tile(self, frame: VideoFrame) -> Layer:
        """A layer of the picture, yuv420p or nv12 of even edges.

        Where nothing is to be scaled it is the frame's own memory, in use for as long as the layer is.
        """
        one = self._input
        source, rect = place(frame.width, frame.height, self._box, one.fit, one.crop)
        # As libav's own filters scale; bilinear takes half the time of 1 ms for 1080p, and loses fine lines.
        scaled = self._reformatter.reformat(
            cropped_frame(frame, source),
            rect.width,
            rect.height,
            "yuv420p",
            interpolation=Interpolation.BICUBIC,
            threads=_ONE_THREAD,
        )
        scaled = in_canvas_colours(scaled, frame.height, self._canvas_lines)
        parts = rounded_parts(rect.width, rect.height, one.radius, one.opacity)
        return Layer(frame_planes(scaled, "yuv420p"), rect.left, rect.top, parts)
