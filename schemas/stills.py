"""Still pictures: a picture of the mesh, or one that is sent along, as an image file."""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, WaitSeconds
from schemas.frames import FrameRef, PixelFormat
from schemas.ids import Id
from schemas.still_format import StillFormat as StillFormat
from schemas.units import SizeText


class RawPicture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture without a header, as the ring has them."""

    data: bytes
    """All planes, one after the other, without padding; base64 in JSON."""
    width: Annotated[int, Meta(ge=1, le=16_384)]
    height: Annotated[int, Meta(ge=1, le=16_384)]
    pixel_format: PixelFormat = "bgr24"


class EncodePicture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """hw-encode.<node>.pic-encode: one of `stream` (its next picture), `frame` (as it came on the bus) or `picture`."""

    stream: Id | None = None
    frame: FrameRef | None = None
    picture: RawPicture | None = None
    format: StillFormat = "jpg"
    quality: Annotated[int, Meta(ge=1, le=100)] = 90
    """Of jpg and webp."""
    size: SizeText | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class EncodedPicture(Struct, frozen=True, kw_only=True):
    """One image file, and what it was made from."""

    format: StillFormat
    width: int
    height: int
    data: bytes
    """base64 in JSON."""
    stream: str = ""
    epoch: int = 0
    sequence: int = 0
    captured_ns: int = 0
