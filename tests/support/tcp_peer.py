"""A WebRTC viewer that comes over TCP: the light peer, with each of its datagrams in a frame (RFC 4571)."""

import asyncio
import socket

from tests.support.light_peer import LightPeer

_SMALL_BUFFER_BYTES = 16 * 1024  # of a peer that shall be slow: little more than a picture


def only_tcp(answer: str) -> str:
    """The answer without its UDP candidates, as for a client that no UDP reaches."""
    lines = answer.split("\r\n")
    return "\r\n".join(line for line in lines if not line.startswith("a=candidate") or " tcp " in line)


def frame(datagram: bytes) -> bytes:
    return len(datagram).to_bytes(2, "big") + datagram


class _FramedSocket(socket.socket):
    """Sends frames; reading them is `TcpPeer`'s."""

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        self.sendall(frame(data))  # far less than any buffer
        return len(data)

    def connect(self, address: object) -> None:
        self.setblocking(True)  # loopback: the kernel answers, whatever the gateway is at
        super().connect(address)  # type: ignore[arg-type]
        self.setblocking(False)


class TcpPeer(LightPeer):
    def __init__(self) -> None:
        super().__init__()
        self._socket.close()
        self._socket = _FramedSocket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
        self._read = b""

    async def connect(self, answer: str) -> None:
        await super().connect(only_tcp(answer))

    async def _receive(self) -> bytes:
        size = int.from_bytes(await self._exactly(2), "big")
        return await self._exactly(size)

    async def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            data = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
            if not data:
                raise ConnectionError("the gateway has closed the connection")
            self._read += data
        found, self._read = self._read[:size], self._read[size:]
        return found
