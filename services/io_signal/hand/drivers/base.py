"""What the hand needs of a device, whatever it hangs on."""

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from schemas.errors import Unavailable
from services.io_signal.patterns import Pattern

InstantClock = Literal["kernel", "arrival"]

# RFC 1918, 4193, 6598 and loopback: where machines are.
PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
)

# Instance metadata hands out credentials to whoever asks, and some clouds serve it within these networks.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "169.254.169.254"))
)


class DeviceError(Unavailable):
    """A device does not do what it is told; the text says which one, and why."""


class Reading(NamedTuple):
    """What an input delivered."""

    value: bool | float | int | str
    at_ns: int
    """CLOCK_REALTIME."""
    clock: InstantClock
    """Who told the instant: the kernel at the edge, or this process when it came."""


class Limits(Struct, frozen=True, kw_only=True):
    """Where devices may be."""

    file_roots: tuple[Path, ...] = ()
    serial_roots: tuple[Path, ...] = (Path("/dev"),)
    tcp_allow: tuple[str, ...] = PRIVATE_NETWORKS
    """Addresses, networks and names of hosts."""

    def allows(self, host: str, address: str) -> bool:
        """Whether `host`, which is at `address`, may be reached; a metadata service only where it is named alone."""
        found = ipaddress.ip_address(address)
        for one in self.tcp_allow:
            try:
                network = ipaddress.ip_network(one, strict=False)
            except ValueError:
                if one.lower() == host.lower():
                    return True
            else:
                if found in network and (found not in _METADATA or network.num_addresses == 1):
                    return True
        return False


class OutputDriver(Protocol):
    """An output of a device. Methods are awaited one at a time, each within the time of one try, and may be
    cancelled at its end; none blocks the event loop."""

    async def open(self) -> None:
        """Get hold of the device; again after a failure. Nothing where it is open.

        Raises:
            DeviceError: it cannot be had.
        """
        ...

    async def set(self, on: bool, text: str) -> int:
        """Have the device on or off; polarity is the driver's. Opens it where it is not open.

        Args:
            text: for devices that take texts, as it goes out.

        Returns:
            CLOCK_REALTIME in ns, read right after the device has it.

        Raises:
            DeviceError: it does not have it; the next `set` or `open` begins afresh.
        """
        ...

    async def send(self, text: str, reply: Pattern | None) -> str:
        """A text as it is, of devices that take any; its answer, empty where none is asked for.

        Raises:
            DeviceError: not sent, or no answer that matches.
        """
        ...

    async def close(self) -> None:
        """Let go of the device, as it is."""
        ...


class InputDriver(Protocol):
    """An input of a device."""

    async def open(self) -> None:
        """Raises:
        DeviceError: it cannot be had.
        """
        ...

    async def run(self, take: Callable[[Reading], None]) -> None:
        """Hand over what it delivers, in order, until cancelled.

        Raises:
            DeviceError: it is gone.
        """
        ...

    async def close(self) -> None: ...


def to_bytes(text: str) -> bytes:
    """A text as it goes out: UTF-8, but for bytes that were written as `\\xNN`, see `hand.texts`."""
    return text.encode(errors="surrogateescape")


def from_bytes(data: bytes) -> str:
    """What a device said, as text; what is no UTF-8 is replaced."""
    return data.decode(errors="replace")


def no_texts(where: str) -> DeviceError:
    """Of `send` where a device takes none."""
    return DeviceError(f"{where} takes no texts; only devices of mode tcp and uart do")
