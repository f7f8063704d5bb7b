"""JSON Schemas of the messages."""

from typing import Any

import msgspec
from msgspec import Struct

from schemas.channels import message_types
from schemas.commands import MeshStatus

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Not on the bus: what `framemesh status --json` and the console's `/api/status` say.
BESIDE_THE_BUS: tuple[type[Struct], ...] = (MeshStatus,)


def documented_types() -> tuple[type[Struct], ...]:
    """Every Struct that has a schema file of its own."""
    return (*message_types(), *BESIDE_THE_BUS)


def components(types: tuple[type[Struct], ...], ref_template: str) -> dict[str, Any]:
    """Schemas of the types and of all that they consist of, by name."""
    _, found = msgspec.json.schema_components(types, ref_template=ref_template)
    return found


def document(kind: type[Struct]) -> dict[str, Any]:
    """The schema of one message type, with what it consists of in `$defs`."""
    parts = components((kind,), "#/$defs/{name}")
    own = parts.pop(kind.__name__)
    return {"$schema": DIALECT, **own, **({"$defs": dict(sorted(parts.items()))} if parts else {})}
