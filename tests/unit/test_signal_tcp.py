"""Texts by TCP to devices that answer, hang, vanish and come back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from schemas.errors import BadRequest
from schemas.signal_resources import SignalSpec
from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.tcp import TcpOutput, send_to
from services.io_signal.hand.drivers.tcp_line import LINES
from services.io_signal.patterns import compile_pattern
from services.io_signal.signals.addresses import TcpAddress
from tests.support.pace import patience
from tests.support.peers import free_port

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A device that listens; notes every line, and how many connections there were."""

    def __init__(self, port: int, answer: bytes = b"", ends: bool = False) -> None:
        self.port, self.answer, self.ends = port, answer, ends
        self.lines: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.lines.append(line)
                writer.write(self.answer)
                await writer.drain()
                if self.ends:
                    break
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Peer"]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            for writer in self.writers:
                writer.transport.abort()
            await asyncio.sleep(0)


def output(port: int, reply: str | None = None) -> TcpOutput:
    spec = SignalSpec(signal="do1", mode="tcp", address=f"tcp://127.0.0.1:{port}", reply=reply)
    return TcpOutput(spec, Limits())


async def until(is_so: Callable[[], bool]) -> None:
    async with patience(5):
        while not is_so():
            await asyncio.sleep(0.001)


async def test_one_connection_carries_all_and_is_shared() -> None:
    async with Peer(free_port()).listening() as peer:
        first, second = output(peer.port), output(peer.port)
        await asyncio.gather(*(one.set(True, f"{number}\n") for number in range(50) for one in (first, second)))
        await send_to(TcpAddress("127.0.0.1", peer.port), Limits(), "text\n", None)
        await until(lambda: len(peer.lines) == 101)
        assert peer.connections == 1
        assert peer.lines[:-1:2] == [b"%d\n" % number for number in range(50)]
        await first.close()
        await second.set(False, "after\n")
        await until(lambda: peer.lines[-1] == b"after\n")
        await second.close()
        await second.close()  # once is enough
        assert not LINES._lines


async def test_an_answer_is_held_against_the_pattern() -> None:
    async with Peer(free_port(), b"OK do1\n").listening() as peer:
        one = output(peer.port, "^OK")
        await one.set(True, "ON\n")
        assert await one.send("what\n", compile_pattern("do[0-9]", "reply")) == "OK do1\n"
        peer.answer = b"ERR busy\n"
        with pytest.raises(TimeoutError):  # the worker's: an answer in two parts may come yet
            async with asyncio.timeout(0.1):
                await one.set(True, "ON\n")
        peer.answer = b"OK again\n"
        await one.set(True, "ON\n")  # on a new connection: the late answer belongs to nobody
        assert peer.connections == 2
        await one.close()


async def test_what_was_said_unasked_is_no_answer() -> None:
    async with Peer(free_port()).listening() as peer:
        one = output(peer.port)
        await one.set(True, "ON\n")
        await until(lambda: bool(peer.lines))
        peer.writers[0].write(b"OK from before\n")
        await asyncio.sleep(0.02)
        peer.answer = b"NO\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await one.send("x\n", compile_pattern("OK", "reply"))
        await one.close()


async def test_a_peer_that_ends_the_connection_is_found_anew() -> None:
    async with Peer(free_port(), ends=True).listening() as peer:
        one = output(peer.port)
        for number in range(5):
            await one.set(True, f"{number}\n")
            await until(lambda number=number: len(peer.lines) == number + 1)  # type: ignore[misc]
            await asyncio.sleep(0.01)  # the end of the connection is on its way
        assert (peer.connections, len(peer.lines)) == (5, 5)
        await one.close()


async def test_a_peer_that_ends_instead_of_an_answer_is_named() -> None:
    async with Peer(free_port(), b"garbage", ends=True).listening() as peer:
        one = output(peer.port, "OK")
        with pytest.raises(DeviceError, match="ended the connection after 'garbage'"):
            await one.set(True, "ON\n")
        await one.close()


async def test_a_peer_that_is_away_is_refused_and_found_when_it_is_back() -> None:
    port = free_port()
    one = output(port)
    with pytest.raises(DeviceError, match=f"127.0.0.1:{port}: "):
        await one.set(True, "ON\n")
    async with Peer(port).listening() as peer:
        await one.set(True, "ON\n")
        await until(lambda: peer.lines == [b"ON\n"])
    await one.close()


async def test_a_peer_that_talks_without_end_is_given_up() -> None:
    async with Peer(free_port(), b"x" * 200_000).listening() as peer:
        one = output(peer.port, "OK")
        with pytest.raises(DeviceError, match="nothing that matches"):
            await one.set(True, "ON\n")
        await one.close()


def test_metadata_services_are_no_devices() -> None:
    assert Limits().allows("plc", "10.1.2.3")
    assert Limits().allows("plc", "100.64.0.1")
    assert not Limits().allows("plc", "8.8.8.8")
    for address in ("100.100.100.200", "fd00:ec2::254", "169.254.169.254"):
        assert not Limits(tcp_allow=("0.0.0.0/0", "::/0")).allows("plc", address)
        assert Limits(tcp_allow=(address,)).allows("plc", address)


async def test_hosts_that_are_not_allowed_are_never_connected_to() -> None:
    async with Peer(free_port()).listening() as peer:
        for allowed in ((), ("10.0.0.0/8", "plc"), ("::1",)):
            with pytest.raises(BadRequest, match="FRAMEMESH_IO_SIGNAL_TCP_ALLOW"):
                await send_to(TcpAddress("127.0.0.1", peer.port), Limits(tcp_allow=allowed), "x\n", None)
        await send_to(TcpAddress("localhost", peer.port), Limits(tcp_allow=("localhost",)), "x\n", None)
        await until(lambda: peer.lines == [b"x\n"])
        assert peer.connections == 1
