"""Modbus frames over TCP and over serial lines: one exchange after the other with whatever is at the other end."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.reach import allowed_address
from services.io_signal.hand.drivers.serial_line import leave_line, take_line
from services.io_signal.signals.addresses import SerialAddress, TcpAddress

_CONNECT_SECONDS: Final = 1.0  # in a plant's network; a switch that is starting takes longer, and is tried again
# Modbus over Serial Line V1.02, 2.5.1.1: silence of 3.5 characters between frames, and 1.75 ms above 19200 baud.
_SILENT_CHARACTERS: Final = 3.5
_SHORTEST_SILENCE_SECONDS: Final = 0.001_75
_UNSENT_MS: Final = 2_000  # what the other end's kernel has not taken by then never arrives: it is switched off

TakeBytes = Callable[[bytes], None]
TakeLoss = Callable[[DeviceError], None]


class Wire(Protocol):
    """Carries bytes there and back."""

    silence_seconds: float
    """Before each frame."""

    @property
    def is_open(self) -> bool: ...

    async def open(self) -> None:
        """Nothing where it is open.

        Raises:
            BadRequest: it may not be reached.
            DeviceError: it cannot be had.
        """
        ...

    async def write(self, data: bytes) -> None: ...

    def drop(self) -> None:
        """Begin afresh with the next `open`."""
        ...

    async def close(self) -> None: ...


class TcpWire:
    """A connection, made anew after it has ended."""

    silence_seconds = 0.0

    def __init__(self, address: TcpAddress, limits: Limits, take: TakeBytes, lost: TakeLoss) -> None:
        self._address, self._limits, self._take, self._lost = address, limits, take, lost
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def open(self) -> None:
        if self._transport is not None:
            return
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                address = await allowed_address(self._address, self._limits)
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self), address, self._address.port
                )
        except TimeoutError:
            raise DeviceError(f"{self._address} does not answer") from None
        except DeviceError:
            raise
        except OSError as error:
            raise DeviceError(f"{self._address}: {error.strerror or error}") from None
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNSENT_MS)

    async def write(self, data: bytes) -> None:
        if self._transport is None:
            raise DeviceError(f"{self._address} ended the connection")
        self._transport.write(data)  # one frame at a time: it never has more than 260 bytes to keep

    def drop(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    async def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def received(self, data: bytes, transport: asyncio.Transport | None) -> None:
        if transport is self._transport:
            self._take(data)

    def ended(self, transport: asyncio.Transport | None, error: Exception | None) -> None:
        if transport is not self._transport:
            return  # dropped before
        self._transport = None
        ended = error is None or isinstance(error, ConnectionResetError)
        reason = "ended the connection" if ended else getattr(error, "strerror", None) or str(error)
        self._lost(DeviceError(f"{self._address}: {reason}"))


class _Connection(asyncio.Protocol):
    """One of a wire's connections: what an earlier one still says is nobody's business."""

    def __init__(self, wire: TcpWire) -> None:
        self._wire = wire
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wire.made(transport)

    def data_received(self, data: bytes) -> None:
        self._wire.received(data, self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.ended(self._transport, exc)


class SerialWire:
    """A serial line, which stays open whatever the devices on it say."""

    def __init__(self, address: SerialAddress, limits: Limits, take: TakeBytes, lost: TakeLoss) -> None:
        """Raises:
        DeviceError: another signal or input has it with other settings.
        """
        self._line = take_line(address, limits)
        self._stop = self._line.listen(take, lost)
        silent = _SILENT_CHARACTERS * address.options.character_seconds
        self.silence_seconds = max(_SHORTEST_SILENCE_SECONDS, silent)

    @property
    def is_open(self) -> bool:
        return self._line.is_open

    async def open(self) -> None:
        await self._line.open()

    async def write(self, data: bytes) -> None:
        await self._line.write(data)

    def drop(self) -> None:
        """Nothing: to open a serial port again resets some devices, and helps none."""

    async def close(self) -> None:
        self._stop()
        await leave_line(self._line)
