"""The picture that stands in for a source that is gone: its name, since when, and why."""

import time
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import Unavailable
from shared.ring import RingGeometry

Picture = npt.NDArray[np.uint8]
RingPicture = npt.NDArray[np.uint8 | np.uint16]
# A calm slate, lighter to the top; letters well above the 4.5 : 1 that readable text wants.
_TOP, _BOTTOM = (62, 74, 90), (42, 51, 64)
_NAME, _TEXT, _REASON = (240, 244, 248), (200, 209, 219), (150, 163, 178)
# Shares of the shorter way: of the height, and of a width that a tall picture has.
_NAME_SHARE, _TEXT_SHARE, _REASON_SHARE = 0.115, 0.075, 0.055
_MARGIN_SHARE = 0.08
_LEADING = 0.55  # between lines, of the smaller letters
_MIN_LETTER_PIXELS = 12  # smaller ones cannot be read
_ASPECT = 16 / 9
_SHORT_CHARACTERS = 60


def short_reason(message: str, source: str) -> str:
    """What fits in one line: without the source's address, without the advice after the semicolon."""
    text = message.partition(";")[0]
    for shown in (repr(source), source):
        text = text.removeprefix(f"source {shown}").removeprefix(":").lstrip()
    text = " ".join(text.split())
    return text if len(text) <= _SHORT_CHARACTERS else text[: _SHORT_CHARACTERS - 1] + "…"


def since_text(since_ns: int) -> str:
    """`no signal since 12:34:56`, in the node's own time; with the date when it is not today's."""
    then = time.localtime(since_ns // 1_000_000_000)
    today = time.localtime()[:3] == then[:3]
    return "no signal since " + time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", then)


@lru_cache(maxsize=4)  # the same one is written twice a second; of several streams in turn
def slate(geometry: RingGeometry, name: str, since: str, reason: str) -> RingPicture:
    """The slate in the ring's own form, shape `geometry.array_shape`; not to be written to.

    Raises:
        Unavailable: Pillow is not installed.
    """
    image = _drawn(geometry.width, geometry.height, name, since, reason)
    picture = _converted(image, geometry)
    picture.flags.writeable = False
    return picture


def _drawn(width: int, height: int, name: str, since: str, reason: str) -> Picture:
    """RGB, shape (height, width, 3)."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise Unavailable("slates need Pillow; pip install 'framemesh[capture]', or use on_loss: hold") from None
    slope = np.linspace(0, 1, height)[:, None, None]
    shade = np.asarray(_TOP) * (1 - slope) + np.asarray(_BOTTOM) * slope
    image = Image.fromarray(np.broadcast_to(np.rint(shade), (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    room = width * (1 - 2 * _MARGIN_SHARE)
    measure = min(height, width / _ASPECT)
    lines = []
    for text, share, colour in (
        (name, _NAME_SHARE, _NAME),
        (since, _TEXT_SHARE, _TEXT),
        (reason, _REASON_SHARE, _REASON),
    ):
        if text:
            shown, font = _fitted(draw, text, share * measure, room)
            lines.append((shown, font, colour))
    leading = max(2.0, _LEADING * _TEXT_SHARE * measure)
    top = (height - sum(font.size for _, font, _ in lines) - leading * (len(lines) - 1)) / 2
    for text, font, colour in lines:
        draw.text((width / 2, top + font.size / 2), text, fill=colour, font=font, anchor="mm")
        top += font.size + leading
    return np.array(image)


def _fitted(draw: Any, text: str, pixels: float, room: float) -> tuple[str, Any]:
    """The text and a font in which it fits: smaller letters first, then fewer."""
    from PIL import ImageFont

    pixels = max(pixels, _MIN_LETTER_PIXELS)
    font = ImageFont.load_default(pixels)
    if (wide := draw.textlength(text, font=font)) > room:
        font = ImageFont.load_default(max(pixels * room / wide, _MIN_LETTER_PIXELS))
    while len(text) > 1 and draw.textlength(text, font=font) > room:
        text = text[:-2].rstrip() + "…"
    return text, font


def _converted(image: Picture, geometry: RingGeometry) -> RingPicture:
    from av.video.frame import VideoFrame

    from shared.media.frames import convert

    kind, shift = geometry.pixel_format, 0
    form: str = kind
    if kind.startswith("bayer"):  # a mosaic of a grey picture is the grey picture
        form = "gray16le" if kind.endswith("le") else "gray"
    elif kind in ("gray10le", "gray12le"):
        form, shift = "gray16le", 16 - int(kind[4:6])
    samples: Any = convert(VideoFrame.from_ndarray(image, format="rgb24"), form).to_ndarray()
    picture: RingPicture = np.ascontiguousarray(samples >> shift).reshape(geometry.array_shape)
    return picture
