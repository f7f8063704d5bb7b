"""The filters that make of a frame the samples that a file or an array takes."""

from dataclasses import replace
from typing import Literal

from av.video.frame import VideoFrame

from shared.media.colour.colours import JFIF, RGB, WEBP, Colours, colours_of, has_alpha, is_grey
from shared.media.colour.graphs import Step
from shared.media.colour.tone import tone_step

Samples = Literal["jfif", "webp", "grey", "rgb24", "bgr24"]
"""Planes in 4:2:0 as JFIF or as WebP takes them, one grey plane of full range, or packed RGB."""

# What needs no other layout, by whether its colours are those of the file: `colorspace` reads deeper samples too.
_CONVERTED = {
    True: frozenset(("yuv420p", "yuvj420p")),
    False: frozenset(("yuv420p", "yuvj420p", "yuv420p10le", "yuv420p12le")),
}
_BT601 = frozenset(("bt470bg", "smpte170m"))
# Of libswscale: smaller pictures are means of the pixels, at half the time of bicubic and as true.
_SMALLER, _LARGER = "area", "bicubic"
# Without it each colour of 4:2:0 is that of two pixels: 42 dB where 58 can be had. The one way that does not need it,
# of these at their own size, is ten times as fast as all others: 45 dB, one level of 255 too dark on average, and to
# the last bit what OpenCV, ffmpeg and `Frame.bgr()` make of them.
_SMOOTH_COLOUR = "+full_chroma_int"
_FAST_TO_RGB = frozenset(("yuv420p", "yuvj420p", "yuv422p", "yuvj422p"))
_OWN_SIZE = "bilinear"  # of the colour; half the time of bicubic and as true
_FILE_BITS = 8
_SWSCALE_MATRICES = {"smpte170m": "bt601", "bt470bg": "bt601", "bt2020ncl": "bt2020"}
_LIMITED_BLACK, _LIMITED_SPAN = 16, 219


def sample_steps(frame: VideoFrame, size: tuple[int, int], samples: Samples) -> list[Step]:
    """
    Args:
        frame: progressive.
        size: width and height in pixels, before the picture is turned.
    """
    colours = colours_of(frame)
    steps: list[Step] = []
    scale, converted = _Scale(frame, size), False
    if frame.format.name.startswith("bayer"):
        steps.append(Step("format", "rgb24"))
    if has_alpha(frame):
        # Over black, as players without a page behind them show it. At full size: then no colour bleeds from what
        # cannot be seen.
        steps += [*_rgb(frame, colours, "gbrap"), Step("premultiply", "inplace=1"), Step("format", "gbrp")]
        colours = replace(RGB, light=colours.light, primaries=colours.primaries)
    if colours.light != "sdr":
        steps += [*_rgb(frame, colours, "gbrp16le", scale), tone_step(frame, colours.light, colours.primaries)]
        colours = RGB
    elif _through_planes(frame, colours, scale):
        full = samples != "webp"
        steps += _planes(frame, colours, full, scale)
        colours, converted = (JFIF if full else WEBP), True
    elif is_grey(frame):
        steps += _grey(colours, scale)
        colours = RGB
    if samples in ("rgb24", "bgr24"):
        return steps + _rgb(frame, colours, samples, scale)
    if samples == "grey":
        return steps
    target = JFIF if samples == "jfif" else WEBP
    if converted:
        return steps
    if colours.matrix == "rgb":
        return steps + _encoded_planes(target, scale)
    return steps + _planes(frame, colours, target.full, scale)


def is_grey_picture(frame: VideoFrame) -> bool:
    """It has no colour, so its file needs none."""
    return is_grey(frame) and not has_alpha(frame) and colours_of(frame).light == "sdr"


class _Scale:
    """The size of the picture, asked for once: by the first filter that can see to it."""

    def __init__(self, frame: VideoFrame, size: tuple[int, int]) -> None:
        self.width, self.height = size
        self.changes = size != (frame.width, frame.height)
        smaller = size[0] <= frame.width and size[1] <= frame.height
        self._args = f"w={size[0]}:h={size[1]}:flags={_SMALLER if smaller else _LARGER}"

    def take(self, flag: str = "") -> str:
        """Options of `scale`, once; `flag`: one more of libswscale's."""
        args, self.changes = (f"{self._args}{flag}:" if self.changes else ""), False
        return args


def _through_planes(frame: VideoFrame, colours: Colours, scale: _Scale) -> bool:
    """What only the filter `colorspace` knows, or makes in a fourth of the time."""
    if colours.matrix == "rgb" or is_grey(frame):
        return False
    deep = frame.format.name in _CONVERTED[False] and frame.format.components[0].bits > _FILE_BITS
    return colours.primaries != "bt709" or colours.matrix == "ycgco" or (deep and not scale.changes)


def _range(full: bool) -> str:
    return "pc" if full else "tv"


def _rgb(frame: VideoFrame, colours: Colours, pixel_format: str, scale: _Scale | None = None) -> list[Step]:
    args = scale.take(_SMOOTH_COLOUR) if scale else ""
    odd = frame.width % 2 or frame.height % 2
    if not args and (odd or frame.format.name not in _FAST_TO_RGB):
        args = f"flags={_OWN_SIZE}{_SMOOTH_COLOUR}:"
    if colours.matrix != "rgb":
        matrix = _SWSCALE_MATRICES.get(colours.matrix, colours.matrix)
        args += f"in_color_matrix={matrix}:in_range={_range(colours.full)}:"
    return [Step("scale", f"{args}out_range=pc"), Step("format", pixel_format)]


def _grey(colours: Colours, scale: _Scale) -> list[Step]:
    steps = [Step("scale", scale.take()), Step("format", "gray")]
    if not colours.full:
        # libswscale takes all grey for full range.
        steps.append(Step("lut", f"clip((val-{_LIMITED_BLACK})*255/{_LIMITED_SPAN}\\,0\\,255)"))
    return steps


def _encoded_planes(target: Colours, scale: _Scale) -> list[Step]:
    """Of RGB or grey."""
    args = f"{scale.take()}out_color_matrix=bt601:out_range={_range(target.full)}"
    return [Step("scale", args), Step("format", "yuv420p")]


def _planes(frame: VideoFrame, colours: Colours, full: bool, scale: _Scale) -> list[Step]:
    """Of YUV, in BT.601 and BT.709's primaries."""
    given, wanted = _range(colours.full), _range(full)
    same = (colours.matrix in _BT601, colours.full, colours.primaries) == (True, full, "bt709")
    steps: list[Step] = []
    # `colorspace` refuses odd edges: it gets a line more, to be cut again, where each pixel has a colour of its own.
    odd = not same and bool(scale.width % 2 or scale.height % 2)
    layout = "yuv444p" if odd else "yuv420p"
    if odd or scale.changes or frame.format.name not in _CONVERTED[same]:
        steps += [Step("scale", f"{scale.take()}in_range={given}:out_range={given}"), Step("format", layout)]
    if same:
        return steps
    if odd:
        steps.append(Step("pad", "ceil(iw/2)*2:ceil(ih/2)*2"))
    steps.append(
        Step(
            "colorspace",
            f"ispace={colours.matrix}:irange={given}:iprimaries={colours.primaries}:itrc=bt709"
            f":space=bt470bg:range={wanted}:primaries=bt709:trc=bt709:format={layout}",
        )
    )
    if odd:
        steps += [Step("crop", f"{scale.width}:{scale.height}:0:0:exact=1"), *_in_420(wanted)]
    return steps


def _in_420(levels: str) -> list[Step]:
    return [Step("scale", f"in_range={levels}:out_range={levels}"), Step("format", "yuv420p")]
