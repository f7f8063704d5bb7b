"""Still pictures from outside: png, jpg and webp, decoded within bounds and scaled to their place."""

import io
import warnings
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.errors import BadRequest
from schemas.mix_resources import Box, Crop, MixInput
from services.cloud_mix_proxy.mixer.colours import RgbImage, planes_of, seen_parts
from services.cloud_mix_proxy.mixer.corners import rounded, rounded_parts
from services.cloud_mix_proxy.mixer.layer import Layer
from services.cloud_mix_proxy.mixer.placing import place
from shared.media.colour.facts import HD_LINES

MAX_STILL_BYTES: Final = 20 << 20
MAX_STILL_PIXELS: Final = 40_000_000  # 160 MB while it is decoded; a canvas has 2 million
_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_RGBA: Final = 4
_DEEP_MODES: Final = frozenset(("I", "I;16", "I;16B", "I;16L", "F"))


def decode(data: bytes, at_most: tuple[int, int]) -> RgbImage:
    """The picture upright, as RGB or RGBA, shape (height, width, 3 or 4); the first one of several.

    Args:
        at_most: (width, height) in pixels that will be needed: what is larger may be decoded smaller.

    Raises:
        BadRequest: it is none of the formats, broken, or larger than what is decoded here.
    """
    if len(data) > MAX_STILL_BYTES:
        raise BadRequest(f"{len(data)} bytes; a still picture has at most {MAX_STILL_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our bound is below it
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = image.size
            if width * height > MAX_STILL_PIXELS:
                raise BadRequest(f"{width}x{height} pixels; a still picture has at most {MAX_STILL_PIXELS} of them")
            image.draft("RGB", at_most)  # a JPEG comes out at an eighth, quarter or half where that is enough
            return _rgb(ImageOps.exif_transpose(image))
    except BadRequest:
        raise
    except UnidentifiedImageError:
        raise BadRequest("not a png, jpg or webp picture") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow says of broken ones
        raise BadRequest(f"a broken picture: {error}") from None


def _rgb(image: Image.Image) -> RgbImage:
    if image.mode in _DEEP_MODES:  # 16 bits a sample
        deep = np.asarray(image, np.float64)
        grey = (deep / 257 if deep.max(initial=0) > 255 else deep).clip(0, 255)
        return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    seen_through = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    return np.array(image.convert("RGBA" if seen_through else "RGB"))


def still_layer(image: RgbImage, box: Box, opacity: float, canvas_height: int) -> Layer:
    """A picture in the middle of its box, all of it, as a layer."""
    height, width = image.shape[:2]
    _, rect = place(width, height, box, "contain", Crop())
    if (rect.width, rect.height) != (width, height):
        # Pillow weighs colours by how opaque they are.
        image = np.array(Image.fromarray(image).resize((rect.width, rect.height), Image.Resampling.LANCZOS))
    planes, alpha = planes_of(image, canvas_height >= HD_LINES)
    if alpha is None and opacity >= 1:
        return Layer(planes, rect.left, rect.top)
    return Layer(planes, rect.left, rect.top, seen_parts(alpha, opacity, rect.height, rect.width))


def still_tile(image: RgbImage, one: MixInput, box: Box, canvas_height: int) -> Layer:
    """A picture as an input, as its spec says; its own transparency is kept."""
    height, width = image.shape[:2]
    source, rect = place(width, height, box, one.fit, one.crop)
    image = image[source.top : source.top + source.height, source.left : source.left + source.width]
    if (rect.width, rect.height) != (source.width, source.height):
        image = np.array(Image.fromarray(image).resize((rect.width, rect.height), Image.Resampling.LANCZOS))
    if image.shape[2] == _RGBA and one.radius:
        shape = rounded(rect.width, rect.height, min(one.radius, rect.width // 2, rect.height // 2))
        image = np.dstack((image[..., :3], np.rint(image[..., 3] * shape).astype(np.uint8)))
    planes, alpha = planes_of(image, canvas_height >= HD_LINES)
    if alpha is None:
        return Layer(planes, rect.left, rect.top, rounded_parts(rect.width, rect.height, one.radius, one.opacity))
    return Layer(planes, rect.left, rect.top, seen_parts(alpha, one.opacity, rect.height, rect.width))
