"""Two serial devices with a cable between them: pseudo-terminals, and what goes into one comes out of the other."""

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable, Iterator

_CHUNK_BYTES = 4_096


class SerialPair:
    """`near` and `far` are devices as /dev/ttyUSB0 would be; within an event loop."""

    def __init__(self) -> None:
        self._masters: list[int] = []
        self._slaves: list[int] = []
        self.near, self.far = self._plug(), self._plug()
        self.carries = True
        """False: the cable is cut, and both devices are still there."""
        self._pump()

    def unplug(self) -> None:
        """Both devices are gone, as when an adapter is pulled out."""
        loop = asyncio.get_running_loop()
        for master in self._masters:
            loop.remove_reader(master)
            os.close(master)
        for slave in self._slaves:
            os.close(slave)
        self._masters, self._slaves = [], []

    def _plug(self) -> str:
        master, slave = os.openpty()
        tty.setraw(slave)  # held open: a pseudo-terminal that nobody has open gives its master an error
        os.set_blocking(master, False)
        self._masters.append(master)
        self._slaves.append(slave)
        return os.ttyname(slave)

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        near, far = self._masters
        loop.add_reader(near, self._carry, near, far)
        loop.add_reader(far, self._carry, far, near)

    def _carry(self, source: int, target: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(source, _CHUNK_BYTES)
            if self.carries:
                os.write(target, data)


@contextlib.contextmanager
def serial_pair() -> Iterator[SerialPair]:
    pair = SerialPair()
    try:
        yield pair
    finally:
        pair.unplug()


class SerialPeer:
    """A program at the other end of a line: what it heard, and a way to say something."""

    def __init__(self, take: Callable[[bytes], None] | None = None) -> None:
        """`take`: told of what comes, which is not kept then."""
        self._take = take
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        self.heard = b""
        self.answers: dict[bytes, bytes] = {}
        """What it says when the last thing it heard is this."""
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._master, self._read)

    async def hears(self, data: bytes, seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while data not in self.heard:
                self._came.clear()
                await self._came.wait()

    def say(self, data: bytes) -> None:
        os.write(self._master, data)

    def pause(self) -> None:
        """It takes nothing from now on."""
        asyncio.get_running_loop().remove_reader(self._master)

    def go_on(self) -> None:
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def unplug(self) -> None:
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._master, _CHUNK_BYTES)
            if self._take is not None:
                self._take(data)
                return
            self.heard += data
            self._came.set()
            for question, answer in self.answers.items():
                if self.heard.endswith(question):
                    self.say(answer)


@contextlib.contextmanager
def serial_peer() -> Iterator[SerialPeer]:
    peer = SerialPeer()
    try:
        yield peer
    finally:
        peer.unplug()
