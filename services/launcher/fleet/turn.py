"""One change of a fleet at a time: two that scale at once would start the same instance twice."""

import contextlib
from collections.abc import Iterator

from schemas.errors import Conflict


class Turn:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._under_way = ""

    @contextlib.contextmanager
    def take(self, what: str) -> Iterator[None]:
        """Raises: Conflict: another change is under way."""
        if self._under_way:
            raise Conflict(f"{what}: {self._under_way} is under way; try again when it is done")
        self._under_way = what
        try:
            yield
        finally:
            self._under_way = ""
