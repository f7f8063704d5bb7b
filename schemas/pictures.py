"""How a stream's pictures shall be: a part of its spec, and all of a profile file."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.errors import InvalidValue
from schemas.frames import PixelFormat
from schemas.units import BinningText, CropText, SizeText, parse_binning, parse_crop, parse_size

Fps = Annotated[float, Meta(gt=0, le=240)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
ControlValue = bool | int | float | str
MAX_CONTROLS = 256
MAX_MASKS = 32


class Mask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A privacy mask: black in every picture, whatever its size. Fractions of the source's whole picture."""

    x: Fraction
    y: Fraction
    width: Fraction
    height: Fraction


class PictureSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is done in the device where it can, and otherwise to each decoded picture, in this order: masks, crop,
    rotate, size, pixel_format. The source's own packets (rendition `source`) are as the camera makes them."""

    size: SizeText | None = None
    """Asked of devices that have sizes; other pictures are scaled to it, after crop and rotate."""
    fps: Fps | None = None
    """Asked of devices that have rates; of other sources pictures above it are left out."""
    pixel_format: PixelFormat | None = None
    """Of the pictures in the ring. None: yuv420p; of an industrial camera what it sends."""
    crop: CropText | None = None
    """Of the source's picture."""
    rotate: Literal[0, 90, 180, 270] = 0
    """Degrees, clockwise."""
    masks: tuple[Mask, ...] = ()
    """A stream with masks has no rendition `source`: that would show what they hide."""
    binning: BinningText | None = None
    """Of cameras that have it."""
    bit_depth: Literal[8, 10, 12, 14, 16] | None = None
    """Bits a sample, of cameras that have it."""
    trigger: str | None = None
    """What makes the camera take a picture: the name of its line (`Line1`) or `software`; None: it runs freely."""
    controls: dict[str, ControlValue] = {}
    """By the device's own names, set in this order: V4L2 controls (`exposure_time_absolute`), GenICam features
    (`ExposureTime`)."""


def check_pictures(pictures: PictureSettings, path: str = "") -> None:
    """Refuse what no source can do. `path`: where the settings stand, `streams.cam0.` in a file, for the error.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    if pictures.size is not None:
        parse_size(pictures.size, f"{path}size")
    if pictures.crop is not None:
        parse_crop(pictures.crop, f"{path}crop")
    if pictures.binning is not None:
        parse_binning(pictures.binning, f"{path}binning")
    if len(pictures.masks) > MAX_MASKS:
        raise InvalidValue(f"{path}masks", f"{len(pictures.masks)} areas", f"use at most {MAX_MASKS}")
    for number, mask in enumerate(pictures.masks):
        if mask.x + mask.width > 1 or mask.y + mask.height > 1 or not mask.width or not mask.height:
            raise InvalidValue(
                f"{path}masks[{number}]",
                f"{mask.width}x{mask.height}+{mask.x}+{mask.y}",
                "keep it within the picture, 0 to 1",
            )
    if len(pictures.controls) > MAX_CONTROLS:
        raise InvalidValue(f"{path}controls", f"{len(pictures.controls)} controls", f"use at most {MAX_CONTROLS}")
