"""What inputs tell of a machine, for the references of the pictures taken of it."""

from msgspec import Struct

from schemas.ids import Id

REFRESH_SECONDS = 1.0
"""So often every value is told anew: who has just started knows all of them by then."""
LIFE_SECONDS = 4.0
"""A value that is not told for so long is no longer true: three in a row were lost, or its input is gone."""


class PictureValue(Struct, frozen=True, kw_only=True):
    """A value from an instant on."""

    name: Id
    value: int | float | str | bool | None
    """None: there is none any more."""
    at_ns: int
    """CLOCK_REALTIME."""


class PictureValues(Struct, frozen=True, kw_only=True):
    """New values, or all of them again."""

    values: tuple[PictureValue, ...]
