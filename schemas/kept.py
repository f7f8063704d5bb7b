"""What the mesh keeps for years, and how its form is told."""

from typing import Annotated

from msgspec import Meta, Struct


class SchemaVersion(Struct, frozen=True, kw_only=True):
    """The version that the records of one service are of."""

    version: Annotated[int, Meta(ge=1)]
