"""Lines of text and clocks as layers."""

import functools
from datetime import datetime
from string import Formatter
from zoneinfo import ZoneInfo

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from schemas.errors import InvalidValue
from schemas.mix_resources import MixText
from schemas.units import NS_PER_SECOND
from services.cloud_mix_proxy.mixer.colours import planes_of, seen_parts
from services.cloud_mix_proxy.mixer.layer import Layer
from shared.media.colour.facts import HD_LINES

_PADDING_SHARE = 0.25  # of a line's height, around a text that has a background
_MAX_CHARACTERS = 1_024  # of what a format makes


def check_text(text: MixText, field: str) -> None:
    """Raises:
    InvalidValue: names what cannot be filled in, or a time zone that there is not.
    """
    try:
        ZoneInfo(text.timezone)
    except (OSError, ValueError, LookupError):
        raise InvalidValue(f"{field}.timezone", text.timezone, "use a name such as Europe/Berlin, or UTC") from None
    try:
        pieces = [*Formatter().parse(text.text)]
    except ValueError as error:
        raise InvalidValue(f"{field}.text", text.text, f"{error}; write {{{{ and }}}} for braces") from None
    for _, name, form, conversion in pieces:
        # Only whole names: nothing that looks into objects, and no width that fills the memory.
        plain = name in (None, "mix") and not form
        clock = name == "now" and bool(form) and "{" not in (form or "")
        if conversion or not (plain or clock):
            raise InvalidValue(f"{field}.text", text.text, "only {mix} and {now:%H:%M:%S} are filled in")


def filled(text: MixText, mix: str, now_ns: int) -> str:
    """The text at this moment, CLOCK_REALTIME."""
    pieces = []
    for plain, name, form, _ in Formatter().parse(text.text):
        pieces.append(plain)
        if name == "mix":
            pieces.append(mix)
        elif name == "now":
            pieces.append(datetime.fromtimestamp(now_ns // NS_PER_SECOND, ZoneInfo(text.timezone)).strftime(form or ""))
    return " ".join("".join(pieces)[:_MAX_CHARACTERS].split("\n"))


@functools.lru_cache(maxsize=16)  # a clock has another text each second, and up to 60 pictures in it
def text_layer(text: MixText, shown: str, canvas_width: int, canvas_height: int) -> Layer | None:
    """The text as a layer; None: nothing of it is on the canvas."""
    font = ImageFont.load_default(text.size)
    padding = round(text.size * _PADDING_SHARE) if text.background else 0
    left, top = text.x & ~1, text.y & ~1
    width = min(int(font.getlength(shown)) + 2 * padding + 2, canvas_width - left) & ~1
    height = min(text.size + text.size // 3 + 2 * padding + 2, canvas_height - top) & ~1
    if width <= 0 or height <= 0 or not shown:
        return None
    # The letters' own colour everywhere: their edges are blended, not darkened.
    letters = Image.new("L", (width, height))
    ImageDraw.Draw(letters).text((padding + text.x - left, padding + text.y - top), shown, fill=255, font=font)
    image = Image.new("RGBA", (width, height), f"{text.colour}00")
    image.putalpha(letters)
    if text.background:
        image = Image.alpha_composite(Image.new("RGBA", (width, height), f"{text.background}ff"), image)
    planes, alpha = planes_of(np.asarray(image), canvas_height >= HD_LINES)
    return Layer(planes, left, top, seen_parts(alpha, text.opacity, height, width))
