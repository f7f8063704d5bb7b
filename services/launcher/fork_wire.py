"""What the launcher and its fork server say to each other, a datagram each."""

from typing import Final

import msgspec
from msgspec import Struct

MAX_BYTES: Final = 200 << 10
"""Of one; an environment is most of it."""


class Order(Struct, frozen=True):
    """Run this service in a copy of yourself. Comes with two descriptors: its standard error, and where it tells that
    it is ready."""

    number: int
    module: str
    environment: dict[str, str]


class Copied(Struct, frozen=True, tag="copied"):
    """Said by the copy itself, before anything else: one that has not said so does not run."""

    number: int
    pid: int


class Ended(Struct, frozen=True, tag="ended"):
    number: int
    status: int
    """Exit status; negative: of the signal that ended it."""


Said = Copied | Ended
encode: Final = msgspec.msgpack.Encoder().encode
read_order: Final = msgspec.msgpack.Decoder(Order).decode
read_said: Final = msgspec.msgpack.Decoder(Said).decode
