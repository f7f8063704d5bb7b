"""One process of the hand, from its start to its end."""

from collections.abc import Callable
from typing import Final

from schemas.errors import Unavailable
from services.io_signal.hand.protocol import MAX_LINE_BYTES, MODULE, FromHand, Setup, ToHand, line, read_by_service
from shared.line_child import LineChild

_END_SECONDS: Final = 4.0  # for devices that do not answer to come to their safe states
_MOST_UNSENT_BYTES: Final = 1 << 20  # a hand that takes nothing for so long stands still


class HandChild:
    """Made anew for every start."""

    def __init__(self, setup: Setup, heard: Callable[[FromHand], None]) -> None:
        """`heard` takes what it says, in the event loop."""
        self._setup = setup
        self._child = LineChild(
            "the hand",
            MODULE,
            lambda text: heard(read_by_service(text)),
            max_line_bytes=MAX_LINE_BYTES,
            end_seconds=_END_SECONDS,
            outlives=True,  # it makes the outputs safe
        )
        self.ended, self.kill, self.stop = self._child.ended, self._child.kill, self._child.stop

    @property
    def pid(self) -> int | None:
        return self._child.pid

    async def start(self) -> None:
        """Raises:
        Unavailable: no more processes.
        """
        await self._child.start()
        self.send(self._setup)

    def send(self, message: ToHand) -> None:
        """Hand a message over; never waits.

        Raises:
            Unavailable: it takes nothing.
        """
        stdin = self._child.stdin
        if stdin.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            raise Unavailable("the hand takes nothing; it is replaced")
        stdin.write(line(message))
