"""Finding GigE Vision cameras, and asking one for a register: the part of GVCP that needs no control of a camera.

Done here and not by a camera library, because discovery shall use only the interfaces that it may, end in time, and
tell who uses a camera. Source: GigE Vision 2.0, chapters 14 to 16 and 28 (message formats and bootstrap registers).
"""

import contextlib
import fcntl
import ipaddress
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from services.capture.genicam.camera import Found

GVCP_PORT = 3956
_KEY, _ACK_REQUIRED = 0x42, 0x01
_DISCOVERY_CMD, _DISCOVERY_ACK = 0x0002, 0x0003
_READ_MEMORY_CMD, _READ_MEMORY_ACK = 0x0084, 0x0085
_READ_REGISTER_CMD, _READ_REGISTER_ACK = 0x0080, 0x0081
_REQUEST_ID = 0xFFFF  # any but 0; every command has a socket of its own, so answers cannot be confused
_HEADER = struct.Struct(">BBHHH")
_ANSWER = struct.Struct(">HHHH")  # status, command, length, id
_DISCOVERY_BYTES = 0xF8
_PRIVILEGE_REGISTER = 0x0A00
_DESCRIPTION_REGISTERS = (0x0200, 0x0400)
_DESCRIPTION_URL_BYTES = 512
_CONTROLLED = 0x3  # exclusive or control access is held
_SIOCGIFADDR, _SIOCGIFBRDADDR = 0x8915, 0x8919
_MAX_ANSWERS = 256  # a hostile network must not fill the list
_ANSWER_BYTES = 1024
_RETRIES = 3  # UDP loses


@dataclass(frozen=True)
class Interface:
    name: str
    address: str
    broadcast: str


def interfaces(allowed: tuple[str, ...]) -> list[Interface]:
    """This host's IPv4 interfaces: those named in `allowed` by name or address; of none named all but loopback."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                address = socket.inet_ntoa(fcntl.ioctl(asking, _SIOCGIFADDR, request)[20:24])
                broadcast = socket.inet_ntoa(fcntl.ioctl(asking, _SIOCGIFBRDADDR, request)[20:24])
            except OSError:  # without an IPv4 address
                continue
            loopback = ipaddress.ip_address(address).is_loopback
            if (name in allowed or address in allowed) if allowed else not loopback:
                found.append(Interface(name, address, address if loopback else broadcast))
    return found


def discover(allowed: tuple[str, ...], seconds: float) -> Iterator[Found]:
    """Ask every allowed interface for cameras and yield them as they answer, each once, for `seconds` at most."""
    places = interfaces(allowed)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for place in places:
            asking = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            asking.setblocking(False)
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            with contextlib.suppress(OSError):  # an interface that went down meanwhile
                asking.bind((place.address, 0))
                selector.register(asking, selectors.EVENT_READ, place)
                # The subnet's broadcast leaves through this interface; the global one also reaches cameras
                # whose address is of another subnet, by the default route only.
                for target in {place.broadcast, "255.255.255.255"} - {"0.0.0.0"}:  # noqa: S104  # no address at all
                    with contextlib.suppress(OSError):
                        asking.sendto(_command(_DISCOVERY_CMD), (target, GVCP_PORT))
        yield from _answers(selector, time.monotonic() + seconds)


def ask(address: str, seconds: float) -> Found | None:
    """The camera at one IP address; None when nothing answers there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, GVCP_PORT))
            payload = _exchange(asking, _command(_DISCOVERY_CMD), _DISCOVERY_ACK, seconds)
            return _found(payload, address, asking.getsockname()[0]) if payload else None
        except OSError:  # no route, or the host says that nobody listens
            return None


def controlled(address: str, seconds: float) -> bool | None:
    """Some program has control of the camera at `address`; None when it does not answer."""
    privilege = read_register(address, _PRIVILEGE_REGISTER, seconds)
    return None if privilege is None else bool(privilege & _CONTROLLED)


def read_register(address: str, register: int, seconds: float) -> int | None:
    """A register of the camera at `address`, which anybody may read; None when it does not answer."""
    command = _command(_READ_REGISTER_CMD, struct.pack(">I", register))
    payload = _asked(address, command, _READ_REGISTER_ACK, seconds)
    return int.from_bytes(payload[:4], "big") if len(payload) >= 4 else None


def description_places(address: str, seconds: float) -> tuple[str, str] | None:
    """Where the camera at `address` says that its description is; None when it does not answer."""
    places = []
    for register in _DESCRIPTION_REGISTERS:
        command = _command(_READ_MEMORY_CMD, struct.pack(">IHH", register, 0, _DESCRIPTION_URL_BYTES))
        payload = _asked(address, command, _READ_MEMORY_ACK, seconds)
        if len(payload) < 4:  # the address comes first
            return None
        places.append(_text(payload[4:]))
    return places[0], places[1]


def _asked(address: str, command: bytes, answer: int, seconds: float) -> bytes:
    """The answer's payload; empty when there was none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, GVCP_PORT))
            return _exchange(asking, command, answer, seconds)
        except OSError:  # no route, or the host says that nobody listens
            return b""


def _answers(selector: selectors.BaseSelector, deadline: float) -> Iterator[Found]:
    seen: set[str] = set()
    while selector.get_map() and (left := deadline - time.monotonic()) > 0 and len(seen) < _MAX_ANSWERS:
        for key, _ in selector.select(left):
            place: Interface = key.data
            assert isinstance(key.fileobj, socket.socket)
            try:
                message, sender = key.fileobj.recvfrom(_ANSWER_BYTES)
            except OSError:
                continue
            payload = _payload(message, _DISCOVERY_ACK)
            if payload and (found := _found(payload, sender[0], place.address)) and found.location not in seen:
                seen.add(found.location)
                yield found


def _exchange(asking: socket.socket, command: bytes, answer: int, seconds: float) -> bytes:
    """The answer's payload; empty when there was none."""
    asking.settimeout(seconds / _RETRIES)
    for _ in range(_RETRIES):
        asking.send(command)
        with contextlib.suppress(TimeoutError):
            if payload := _payload(asking.recv(_ANSWER_BYTES), answer):
                return payload
    return b""


def _command(command: int, payload: bytes = b"") -> bytes:
    return _HEADER.pack(_KEY, _ACK_REQUIRED, command, len(payload), _REQUEST_ID) + payload


def _payload(message: bytes, answer: int) -> bytes:
    if len(message) < _ANSWER.size:
        return b""
    status, command, length, request = _ANSWER.unpack_from(message)
    if status != 0 or command != answer or request != _REQUEST_ID or length > len(message) - _ANSWER.size:
        return b""
    return message[_ANSWER.size : _ANSWER.size + length]


def _found(payload: bytes, sender: str, interface_address: str) -> Found | None:
    """Read a discovery answer. The address is the sender's own, never one that it names."""
    if len(payload) < _DISCOVERY_BYTES:
        return None
    mac = payload[0x0A:0x10]
    vendor, model, serial = _text(payload[0x48:0x68]), _text(payload[0x68:0x88]), _text(payload[0xD8:0xE8])
    return Found(
        # A camera in software may have no MAC address.
        location=":".join(f"{byte:02x}" for byte in mac) if any(mac) else f"{vendor}-{model}-{serial}",
        vendor=vendor,
        model=model,
        serial=serial,
        user_name=_text(payload[0xE8:0xF8]),
        address=sender,
        interface_address=interface_address,
    )


def _text(raw: bytes) -> str:
    """Up to its NUL; what could not be printed is left out."""
    text = raw.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable()).strip()
