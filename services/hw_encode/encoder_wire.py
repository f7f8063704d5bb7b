"""What the service and an encoder's process say to each other, over a pair of sockets.

Messages are 4 bytes big-endian length and msgpack. To the process: `OpenEncoder` with the descriptor of the pictures'
memory, then `EncodeSlot` for each picture, `None` to finish. Each is answered by one `Answer`. The end of the
connection means: end.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.frames import PixelFormat
from schemas.resources import RenditionSpec
from services.hw_encode.libav_codec import Encoded
from shared import pixel_formats
from shared.pixel_formats import Picture

LENGTH_BYTES = 4
SLOTS = 4  # one is being written, the others may be held by a driver; beyond, the process takes copies


class OpenEncoder(Struct, frozen=True, kw_only=True):
    """The first message; again after an answer with an error."""

    kind: str
    spec: RenditionSpec
    width: int
    height: int
    fps: float
    colour_space: ColourSpace = UNSPECIFIED


class EncodeSlot(Struct, frozen=True, array_like=True):
    """A picture lies in this slot."""

    slot: int
    pts: int
    key: bool


class Answer(Struct, frozen=True, array_like=True):
    """What became of it."""

    error: str = ""
    packets: tuple[Encoded, ...] = ()
    slot: Annotated[int, Meta(ge=0, lt=SLOTS)] = 0
    """Where the next picture goes: the encoder does not read there any more."""


_encoder = msgspec.msgpack.Encoder()


def message(content: OpenEncoder | EncodeSlot | Answer | None) -> bytes:
    encoded = _encoder.encode(content)
    return len(encoded).to_bytes(LENGTH_BYTES, "big") + encoded


def slot_bytes(width: int, height: int) -> int:
    """Of a picture in 4:2:0, which every encoder is given."""
    return width * height * 3 // 2


def slot_planes(memory: Picture, pixel_format: str, width: int, height: int) -> list[Picture]:
    """The planes of the picture in a slot, as views."""
    layout = layout_of(pixel_format)
    return pixel_formats.planes(memory, layout, width, height)


def layout_of(pixel_format: str) -> PixelFormat:
    """How an encoder's format lies in memory: yuvj420p is yuv420p with other levels."""
    return "nv12" if pixel_format == "nv12" else "yuv420p"
