"""A small HTTP server with the behaviours that media servers have, good and bad. Loopback only.

`python -m tests.support.media_server PORT FILE…` serves files, as a process that can be killed.
"""

import base64
import hashlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np

USER, PASSWORD = "viewer", "pass:w@rd"


def clip(container: str, pictures: int = 30, options: dict[str, str] | None = None) -> bytes:
    """A short H.264 clip of 384x64 with a key picture every ten."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream("libx264", rate=30, options={"preset": "ultrafast", "g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 384, 64, "yuv420p"
        noise = np.random.default_rng(7)
        for _ in range(pictures):
            picture = noise.integers(16, 235, (96, 384), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        output.mux(stream.encode(None))
    return file.getvalue()


class MediaServer(ThreadingHTTPServer):
    """Serves `files` (path -> body) with ranges, `redirects` (path -> location) and `pages` (path -> function)."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.pages: dict[str, Callable[[_Handler], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.auth = ""
        """`basic` or `digest`: asked of every request."""
        self.ranges = True
        self.stop = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1", userinfo: str = "") -> str:
        return f"http://{userinfo}{host}:{self.port}{path}"

    def asked(self) -> list[str]:
        return [path for path, _ in self.requests]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MediaServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers.items())))
        path = self.path.partition("?")[0]
        if self.server.auth and not self._authorized():
            challenge = {"basic": 'Basic realm="cam"', "digest": 'Digest realm="cam", nonce="n1", qop="auth"'}
            self._empty(401, {"WWW-Authenticate": challenge[self.server.auth]})
        elif path in self.server.redirects:
            self._empty(302, {"Location": self.server.redirects[path]})
        elif path in self.server.pages:
            self.server.pages[path](self)
        elif path in self.server.files:
            self._file(self.server.files[path])
        else:
            self._empty(404, {})

    def _file(self, body: bytes) -> None:
        wanted = self.headers.get("Range")
        if not wanted or not self.server.ranges:
            self.send_response(200)
        else:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
            if start >= len(body):
                self._empty(416, {"Content-Range": f"bytes */{len(body)}"})
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(body)}")
            body = body[start : end + 1]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _authorized(self) -> bool:
        kind, _, rest = self.headers.get("Authorization", "").partition(" ")
        if self.server.auth == "basic":
            return kind == "Basic" and base64.b64decode(rest).decode() == f"{USER}:{PASSWORD}"
        fields = dict(part.strip().split("=", 1) for part in rest.split(",")) if kind == "Digest" else {}
        given = {name: value.strip('"') for name, value in fields.items()}
        if not given:
            return False
        secret, request = _md5(f"{USER}:cam:{PASSWORD}"), _md5(f"GET:{self.path}")
        answer = _md5(":".join((secret, "n1", given["nc"], given["cnonce"], "auth", request)))
        return given["response"] == answer and given["uri"] == self.path

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def media_server() -> Iterator[MediaServer]:
    server = MediaServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


if __name__ == "__main__":
    alone = MediaServer(int(sys.argv[1]))
    alone.files = {f"/{Path(name).name}": Path(name).read_bytes() for name in sys.argv[2:]}
    alone.serve_forever()
