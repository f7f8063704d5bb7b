"""What packets of video cost on the bus: CPU of one nats-server for each one in and out, and of Python at both ends.

Publisher and consumers of the server's part are bare sockets of one thread, so that what is measured is the server.
"""

import asyncio
import os
import resource
import selectors
import socket
import sys
import threading
import time
from typing import NamedTuple

import numpy as np

from shared.bus import Bus, Message
from tests.support.nats import NatsServer

PACKET_BYTES = 30_000  # 7.2 Mbit/s at 30 a second: 1080p30 of a camera on a good day
PER_SECOND = 30
POINTS = ((1, 1), (4, 1), (16, 1), (32, 1), (4, 4), (4, 16), (1, 64), (2, 64))
"""(streams, consumers of each): 120 MB/s at most."""
SECONDS = 2.5
_SETTLE_SECONDS = 0.5
_READ_BYTES = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


class Point(NamedTuple):
    streams: int
    fan_out: int
    in_per_second: float
    out_per_second: float
    core_percent: float


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _connected(port: int, *commands: bytes) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(b'CONNECT {"verbose":false,"pedantic":false,"echo":false}\r\n' + b"".join(commands) + b"PING\r\n")
    return link


class _Sink:
    """Reads all that comes to its connections, and looks at none of it but what asks for an answer."""

    def __init__(self, links: list[socket.socket]) -> None:
        self.bytes = 0
        self._selector = selectors.DefaultSelector()
        for link in links:
            self._selector.register(link, selectors.EVENT_READ)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        buffer = bytearray(_READ_BYTES)
        while not self._over.is_set():
            for key, _ in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                self.bytes += key.fileobj.recv_into(buffer)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def measure(streams: int, fan_out: int) -> Point:
    """One number of streams and of consumers of each; a server of its own."""
    with NatsServer() as server:
        assert server._process is not None
        pid = server._process.pid
        links = [
            _connected(server.port, f"SUB packets.{stream} 1\r\n".encode())
            for stream in range(streams)
            for _ in range(fan_out)
        ]
        sink = _Sink(links)
        source = _connected(server.port)
        messages = [
            f"PUB packets.{stream} {PACKET_BYTES}\r\n".encode() + bytes(PACKET_BYTES) + b"\r\n"
            for stream in range(streams)
        ]
        try:
            _send(source, messages, _SETTLE_SECONDS)
            bytes_before, cpu_before, began = sink.bytes, cpu_seconds(pid), time.monotonic()
            sent = _send(source, messages, SECONDS)
            seconds = time.monotonic() - began
            cpu = cpu_seconds(pid) - cpu_before
            received = (sink.bytes - bytes_before) / PACKET_BYTES
        finally:
            sink.close()
            for link in (*links, source):
                link.close()
    return Point(streams, fan_out, sent / seconds, received / seconds, 100 * cpu / seconds)


def _send(source: socket.socket, messages: list[bytes], seconds: float) -> int:
    """All streams one after the other, evenly; how many packets."""
    began, sent = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        due = int(now * PER_SECOND * len(messages)) + 1
        while sent < due:
            source.sendall(messages[sent % len(messages)])
            sent += 1
        time.sleep(1 / (PER_SECOND * len(messages)))
    return sent


def slopes(points: list[Point]) -> dict[str, float]:
    """CPU of the server as a base, so much for each packet in, and so much for each one out."""
    matrix = np.array([[1.0, point.in_per_second, point.out_per_second] for point in points])
    percent = np.array([point.core_percent for point in points])
    found, *_ = np.linalg.lstsq(matrix, percent, rcond=None)
    return {
        "base_core_percent": round(float(found[0]), 3),
        "us_per_packet_in": round(float(found[1]) * 1e4, 2),
        "us_per_packet_out": round(float(found[2]) * 1e4, 2),
        "worst_residual_percent": round(float(np.abs(matrix @ found - percent).max()), 2),
    }


async def python_ends() -> dict[str, float]:
    """CPU of this process for each packet that it posts, and for each that it takes from another one."""
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="bench", timeout_seconds=5)
        data = bytes(PACKET_BYTES)
        count = PER_SECOND * 100
        before = _own_cpu()
        for number in range(count):
            bus.post("packets.0", data)
            if number % 20 == 0:
                await bus.flush()
        await bus.flush()
        post_us = 1e6 * (_own_cpu() - before) / count
        taken = 0

        def take(_: Message) -> None:
            nonlocal taken
            taken += 1

        await bus.subscribe("packets.1", take)
        await bus.answers()
        program = (
            "import socket,sys,time\n"
            f"s=socket.create_connection(('127.0.0.1',{server.port}))\n"
            "s.sendall(b'CONNECT {\"verbose\":false}\\r\\n')\n"
            f"m=b'PUB packets.1 {PACKET_BYTES}\\r\\n'+bytes({PACKET_BYTES})+b'\\r\\n'\n"
            f"for n in range({count}):\n"
            "    s.sendall(m)\n"
            "    time.sleep(0.0005)\n"
            "s.sendall(b'PING\\r\\n')\n"
            "time.sleep(0.3)\n"
        )
        before = _own_cpu()
        other = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        await other.wait()
        take_us = 1e6 * (_own_cpu() - before) / max(taken, 1)
        await bus.drain()
    return {"us_per_packet_posted": round(post_us, 1), "us_per_packet_taken": round(take_us, 1), "taken": taken}


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
