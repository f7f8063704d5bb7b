"""A STUN binding request and its answer (RFC 8489): who answers, and as whom it sees us."""

import asyncio
import ipaddress
import os
import socket
import ssl
import struct
from typing import Final, NamedTuple

_COOKIE: Final = 0x2112A442
_REQUEST, _SUCCESS = 0x0001, 0x0101
_MAPPED, _XOR_MAPPED = 0x0001, 0x0020
_IPV4, _IPV6 = 1, 2
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_MAX_BYTES = 1500
_TRIES_AT_SECONDS = (0.0, 0.3, 0.8)  # datagrams get lost


class Answer(NamedTuple):
    seen_as: str
    """Our address as the server sees it; empty: it does not say."""
    seconds: float


async def ask_udp(host: str, port: int, seconds: float) -> Answer | None:
    """The answer; None: silence.

    Raises:
        OSError: nobody listens there, there is no way, or no such name.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, _, _, _, address = found[0]
    request, transaction = _request()
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.connect(address)  # so that the kernel tells us of a refusal
        began = loop.time()
        for number, at in enumerate(_TRIES_AT_SECONDS):
            if at >= seconds:
                break
            line.send(request)
            until = _TRIES_AT_SECONDS[number + 1] if number + 1 < len(_TRIES_AT_SECONDS) else seconds
            try:
                async with asyncio.timeout(min(until, seconds) - at):
                    while True:
                        answer = _parse(await loop.sock_recv(line, _MAX_BYTES), transaction)
                        if answer is not None:
                            return Answer(answer, loop.time() - began)
            except TimeoutError:
                continue
    return None


async def ask_tcp(host: str, port: int, tls: bool) -> Answer | None:
    """The same over TCP or TLS, as relays have it; None: it says something else. Ends by the caller's deadline.

    Raises:
        OSError: as of `ask_udp`; ssl.SSLError among them.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    reader, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if tls else None)
    try:
        request, transaction = _request()
        writer.write(request)
        head = await reader.readexactly(_HEADER.size)
        rest = await reader.readexactly(min(_HEADER.unpack(head)[1], _MAX_BYTES))
        answer = _parse(head + rest, transaction)
    except asyncio.IncompleteReadError:
        return None
    finally:
        writer.close()
    return None if answer is None else Answer(answer, loop.time() - began)


def _request() -> tuple[bytes, bytes]:
    transaction = os.urandom(12)
    return _HEADER.pack(_REQUEST, 0, _COOKIE, transaction), transaction


def _parse(data: bytes, transaction: bytes) -> str | None:
    """Our address in an answer to that request, "" without one; None: it is no such answer."""
    if len(data) < _HEADER.size:
        return None
    kind, length, cookie, of = _HEADER.unpack_from(data)
    if (cookie, of) != (_COOKIE, transaction) or kind != _SUCCESS:
        return None
    at, end = _HEADER.size, min(len(data), _HEADER.size + length)
    while at + _ATTRIBUTE.size <= end:
        name, size = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if name in (_MAPPED, _XOR_MAPPED) and at + size <= end and size >= 8:
            return _address(data[at : at + size], transaction, name == _XOR_MAPPED)
        at += size + -size % 4
    return ""


def _address(value: bytes, transaction: bytes, xor: bool) -> str:
    key = struct.pack("!I", _COOKIE) + transaction
    raw = value[4 : 4 + (4 if value[1] == _IPV4 else 16)]
    if xor:
        raw = bytes(one ^ other for one, other in zip(raw, key, strict=False))
    try:
        return str(ipaddress.ip_address(raw))
    except ValueError:
        return ""
