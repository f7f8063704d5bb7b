"""What several signals and inputs use at once: made by the first of them, and closed by the last."""

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar


class Closeable(Protocol):
    def close(self) -> Awaitable[None]: ...


T = TypeVar("T", bound=Closeable)


class Shared(Generic[T]):
    """Things by name, each with the number of its users. One for each kind of thing, in the process that has it."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[T, int]] = {}

    def find(self, name: str) -> T | None:
        held = self._held.get(name)
        return held[0] if held else None

    def take(self, name: str, make: Callable[[], T]) -> T:
        """The thing of that name; every `take` needs one `leave`."""
        thing, users = self._held.get(name) or (make(), 0)
        self._held[name] = (thing, users + 1)
        return thing

    async def leave(self, name: str) -> None:
        thing, users = self._held[name]
        if users > 1:
            self._held[name] = (thing, users - 1)
            return
        del self._held[name]
        await thing.close()
