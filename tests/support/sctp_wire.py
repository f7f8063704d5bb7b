"""A peer's SCTP in memory, so that packets can be lost and forged."""

import asyncio
from collections.abc import Callable

from aiortc.rtcsctptransport import RTCSctpTransport


class Wire:
    """The peer's DTLS, as its SCTP sees it, and the way between the two; datagrams arrive at the next turn."""

    state = "connected"
    _role = "client"

    def __init__(self) -> None:
        self.to_gateway: Callable[[bytes], None] = lambda packet: None
        self.peer: RTCSctpTransport | None = None
        self.lose: Callable[[], bool] = lambda: False
        self.sent: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def _send_data(self, packet: bytes) -> None:
        self.sent.append(packet)
        if not self.lose():
            self._loop.call_soon(self.to_gateway, packet)

    def to_peer(self, packet: bytes) -> None:
        if self.peer is not None and not self.lose():
            task = self._loop.create_task(self.peer._handle_data(packet))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _register_data_receiver(self, receiver: object) -> None: ...

    def _unregister_data_receiver(self, receiver: object) -> None: ...
