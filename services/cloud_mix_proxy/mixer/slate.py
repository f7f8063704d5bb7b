"""What is seen of an input that is lost and shall not go on as if it were there."""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from schemas.mix_resources import Box, MixInput
from services.cloud_mix_proxy.mixer.layer import Layer
from services.cloud_mix_proxy.mixer.stills import still_tile

_GROUND, _LETTERS = "#2a3340", "#f0f4f8"  # calm, and 12 : 1, which can be read
_NAME_SHARE, _TEXT_SHARE = 0.14, 0.09  # of the shorter way
_WIDEST: Final = 0.84  # of the width
_LEAST_PIXELS: Final = 8  # smaller letters cannot be read
_TEXT: Final = "no signal"


def slate(one: MixInput, box: Box, canvas_height: int) -> Layer:
    """The input's name on a plain ground, as large as its box, with its corners and opacity."""
    width, height = max(2, box.width & ~1), max(2, box.height & ~1)
    image = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(image)
    middle = height / 2
    for text, share, up in ((one.input, _NAME_SHARE, -0.6), (_TEXT, _TEXT_SHARE, 1.2)):
        pixels = share * min(width, height)
        wide = ImageFont.load_default(_LEAST_PIXELS).getlength(text) / _LEAST_PIXELS  # at 1 pixel
        pixels = max(_LEAST_PIXELS, min(pixels, _WIDEST * width / wide))
        font = ImageFont.load_default(pixels)
        draw.text((width / 2, middle + up * pixels), text, fill=_LETTERS, font=font, anchor="mm")
    plain = MixInput(input=one.input, source=one.source, fit="fill", radius=one.radius, opacity=one.opacity)
    return still_tile(np.array(image), plain, box, canvas_height)
