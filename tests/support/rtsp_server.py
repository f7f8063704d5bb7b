"""A small RTSP server: H.264 over interleaved TCP, or whatever replies a test wants. Loopback only."""

import itertools
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

import av
import numpy as np

from shared.media import bitstream

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n"
)
_CLOCK_HZ, _FPS = 90_000, 30
Replies = Callable[[str, dict[str, str]], bytes | None]
"""(request line, headers) -> the whole reply, or None for the usual one."""


@cache
def access_units(pictures: int = 30) -> tuple[bytes, ...]:
    """Pictures of 384x64 in slices that fit one RTP packet each."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 384, 64, "yuv420p", _FPS
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10", "slice-max-size": "1200"}
    picture = np.random.default_rng(5).integers(16, 235, (96, 384), np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    return tuple(bytes(packet) for _ in range(pictures) for packet in encoder.encode(frame))


class RtspServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, replies: Replies | None, port: int = 0, live: bool = False) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.replies = replies or (lambda line, headers: None)
        self.live = live
        """Pictures come at their own speed and never end; otherwise one second of them, at once."""
        self.lines: list[str] = []
        self.stop = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(socketserver.StreamRequestHandler):
    server: RtspServer
    request: socket.socket

    def handle(self) -> None:
        with suppress(OSError):
            while line := self.rfile.readline().decode().strip():
                headers = {}
                while header := self.rfile.readline().decode().strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                self.server.lines.append(line)
                reply = self.server.replies(line, headers)
                self.wfile.write(self._usual(line, headers) if reply is None else reply)
                if line.startswith("PLAY"):
                    self._play()

    def _usual(self, line: str, headers: dict[str, str]) -> bytes:
        verb = line.partition(" ")[0]
        head, body = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n", ""
        if verb == "DESCRIBE":
            body = _SDP
            head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif verb == "SETUP":
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        return f"{head}\r\n{body}".encode()

    def _play(self) -> None:
        sequence = 0
        units = access_units()
        began = time.monotonic()
        for picture in itertools.count() if self.server.live else range(len(units)):
            if self.server.live and self.server.stop.wait(max(0.0, began + picture / _FPS - time.monotonic())):
                return
            nals = list(bitstream.nal_units(units[picture % len(units)], "h264"))
            for nal in nals:
                marker = 0x80 if nal is nals[-1] else 0
                rtp = bytes((0x80, marker | 96)) + (sequence & 0xFFFF).to_bytes(2, "big")
                rtp += (picture * _CLOCK_HZ // _FPS & 0xFFFFFFFF).to_bytes(4, "big") + b"\x00\x00\x00\x07"
                rtp += units[picture % len(units)][nal.start : nal.end]
                self.wfile.write(b"$\x00" + len(rtp).to_bytes(2, "big") + rtp)
                sequence += 1
        self.server.stop.wait(10)


@contextmanager
def rtsp_server(replies: Replies | None = None, port: int = 0, live: bool = False) -> Iterator[RtspServer]:
    server = RtspServer(replies, port, live)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
