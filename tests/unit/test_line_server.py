"""Lines over TCP: a real server and real clients, in the hand's own parts."""

import asyncio
import contextlib
import socket
import time
from typing import Any

import pytest

from schemas.errors import InvalidValue
from schemas.signal_resources import InputSpec
from services.io_signal.hand.drivers.base import Limits
from services.io_signal.hand.drivers.tcp_line_client import SO_TIMESTAMPNS
from tests.support.listening import listening


@contextlib.contextmanager
def client(port: int) -> Any:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@contextlib.contextmanager
def stamping_kernel() -> Any:
    """The kernel begins to stamp packets some time after the first socket has asked for it, and ends after the last."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with client(server.getsockname()[1]) as sender, server.accept()[0] as receiver:
            end = time.monotonic() + 10
            ancillary: list[Any] = []
            while not ancillary:
                assert time.monotonic() < end, "the kernel stamps nothing"
                sender.sendall(b".")
                _, ancillary, _, _ = receiver.recvmsg(1, 64)
            yield


async def test_lines_are_readings_with_the_kernels_instant() -> None:
    async with listening() as inputs:
        port = await inputs.listen(value="text")
        with stamping_kernel(), client(port) as machine:
            before_ns = time.time_ns()
            machine.sendall(b"first\n")
            after_ns = time.time_ns()
            time.sleep(0.05)  # noqa: ASYNC251  # the loop stands still, and the instant is still the kernel's
            first = (await inputs.until(1))[0]
            machine.sendall(b"sec")
            machine.sendall(b"ond\r\nthird\n\n\xff\n")
            values = [one.value for one in await inputs.until(4)]
        assert (first.value, first.clock, first.edge) == ("first", "kernel", True)
        assert before_ns - 1_000_000 < first.at_ns < after_ns + 1_000_000
        assert values == ["first", "second", "third", "�"]


async def test_levels_debounced_numbers_and_what_does_not_match() -> None:
    async with listening() as inputs:
        port = await inputs.listen(debounce="20ms", edge="rising")
        with client(port) as machine:
            machine.sendall(b"1\nwhat\n0\n1\n")
            assert [one.value for one in await inputs.until(1)] == [True]
            machine.sendall(b"0\n")
            assert [(one.value, one.edge) for one in await inputs.until(2)] == [(True, True), (False, False)]
            assert await inputs.until_left_out("no-match") == 1
            assert await inputs.until_left_out("bounce") == 2
        inputs.told.clear()
        port = await inputs.listen(value="number", pattern="POS=(?P<value>[0-9.]+)")
        with client(port) as machine:
            machine.sendall(b"POS=12\nNEG=1\nPOS=1.5;\nPOS=12\n")
            assert [one.value for one in await inputs.until(3)] == [12, 1.5, 12]


async def test_whoever_sends_too_much_or_comes_too_late_is_let_go_and_others_are_heard() -> None:
    async with listening() as inputs:
        port = await inputs.listen(value="text")
        with contextlib.ExitStack() as stack:
            endless = stack.enter_context(client(port))
            endless.sendall(b"x" * 5_000)
            assert await asyncio.to_thread(is_ended, endless)
            machines = [stack.enter_context(client(port)) for _ in range(16)]
            for number, machine in enumerate(machines):
                machine.sendall(f"{number}\n".encode())
            await inputs.until(16)
            assert await asyncio.to_thread(is_ended, stack.enter_context(client(port)))
            machines[0].close()
            await asyncio.sleep(0.05)
            late = stack.enter_context(client(port))
            late.sendall(b"late\n")
            assert [one.value for one in await inputs.until(17)][-1] == "late"
            assert await inputs.until_left_out("refused") == 1
            assert await inputs.until_left_out("too-long") == 1


async def test_only_hosts_that_are_allowed_are_heard() -> None:
    async with listening(Limits(tcp_allow=("10.0.0.0/8",))) as inputs:
        port = await inputs.listen(value="text")
        with client(port) as stranger:
            assert await asyncio.to_thread(is_ended, stranger)
        assert inputs.taken == []


async def test_a_flood_is_slowed_down() -> None:
    async with listening() as inputs:
        port = await inputs.listen(value="number")
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            machines = [stack.enter_context(client(port)) for _ in range(8)]
            for machine in machines:
                machine.setblocking(False)
            while time.monotonic() - began < 0.3:
                for machine in machines:
                    with contextlib.suppress(BlockingIOError):
                        machine.send(b"7\n" * 2_000)
                await asyncio.sleep(0)
            left_out = await inputs.until_left_out("too-fast")
            seconds = time.monotonic() - began
        told = len([one for one in inputs.taken if one.edge])
        assert 100 <= told <= 100 + 500 * seconds + 8
        # Of each client a hundred at once and a read of 128, then a thousand a second of all: TCP holds the rest back.
        assert told + left_out <= 8 * 228 + 1_000 * seconds + 128


async def test_a_port_that_is_taken_is_the_inputs_error_until_it_is_free() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with listening() as inputs:
            spec = InputSpec(input="di1", mode="tcp", address=f"tcp://127.0.0.1:{port}", value="text")
            await inputs.ports.listen(spec)
            failed = await inputs.until_state("failed")
            assert failed.error is not None
            assert failed.error.code == 503
            assert failed.error.message == (
                f"cannot listen at tcp://127.0.0.1:{port}: Address already in use; choose another port"
            )
            other.close()
            await inputs.until_state("active")
            await inputs.ports.leave("di1")
            with socket.create_server(("127.0.0.1", port)):
                pass


async def test_a_spec_that_can_never_work_is_refused() -> None:
    async with listening() as inputs:
        spec = InputSpec(input="di1", mode="tcp", address="tcp://127.0.0.1:0", pattern="(")
        with pytest.raises(InvalidValue, match="pattern"):
            await inputs.ports.listen(spec)
        assert inputs.told == []
