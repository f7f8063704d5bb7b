"""Values of inputs on their way into the references of a stream's pictures: an encoder's position, a trigger count."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from schemas.picture_values import LIFE_SECONDS, PictureValue, PictureValues
from schemas.subjects import picture_values
from shared.ring.slot import Metadata

if TYPE_CHECKING:
    from services.capture.stream import StreamRunner
    from shared.bus import Message
    from shared.service import Context

# A picture that was captured a second ago and comes only now, of a stream whose value changes 500 times a second.
_KEPT: Final = 512
_MOST_NAMES: Final = 32  # in a reference; others would never be in one
_MOST_CHARACTERS: Final = 256  # of one value
_decode = msgspec.json.Decoder(PictureValues).decode

Value = int | float | str | bool


class AttachedValues:
    """The newest values of one stream. Told in the event loop, asked for by whichever thread writes a picture."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: dict[str, deque[tuple[int, Value | None]]] = {}
        self._told_at: dict[str, float] = {}
        self._turns = threading.Lock()

    def take(self, values: tuple[PictureValue, ...]) -> None:
        """New values, or what is known already told anew."""
        now = self._now()
        with self._turns:
            for one in values:
                kept = self._kept.get(one.name)
                if kept is None:
                    if len(self._kept) >= _MOST_NAMES:
                        self._forget_the_oldest()
                    kept = self._kept[one.name] = deque(maxlen=_KEPT)
                self._told_at[one.name] = now
                # Only a clock that was set back tells what is older than the last.
                while kept and kept[-1][0] > one.at_ns:
                    kept.pop()
                value = one.value[:_MOST_CHARACTERS] if isinstance(one.value, str) else one.value
                if not kept or kept[-1] != (one.at_ns, value):
                    kept.append((one.at_ns, value))

    def beside(self, own: Metadata, captured_ns: int) -> Metadata:
        """The picture's own entries, and the values as they were when it was captured, where the names are free."""
        oldest = self._now() - LIFE_SECONDS
        found: dict[str, Value] = {}
        with self._turns:
            for name, kept in self._kept.items():
                if name in own or self._told_at[name] < oldest:
                    continue
                # Mostly the last one or the one before.
                value = next((value for at_ns, value in reversed(kept) if at_ns <= captured_ns), None)
                if value is not None:
                    found[name] = value
        return {**own, **found} if found else own

    def _forget_the_oldest(self) -> None:
        name = min(self._told_at, key=self._told_at.__getitem__)
        del self._kept[name], self._told_at[name]


async def follow_values(context: "Context[Any]", runners: "Mapping[str, StreamRunner]") -> None:
    """Hand on what is told of this node's streams, until the service ends."""

    def receive(message: "Message") -> None:
        runner = runners.get(message.subject.rpartition(".")[2])
        if runner is not None:
            runner.attach(_decode(message.data).values)

    subscription = await context.bus.subscribe(picture_values(context.node), receive)
    context.stack.push_async_callback(subscription.close)
