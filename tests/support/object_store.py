"""An S3 server for tests, in a process of its own, and one in front that fails on request. Loopback only."""

import contextlib
import hashlib
import hmac
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import boto3
import pytest

from tests.support.pace import Patience

_BOOT_SECONDS = 15.0  # moto imports for two seconds on a quiet machine


class S3Server:
    """moto's server with the `client` of somebody else, to look at what is really there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="admin",
            aws_secret_access_key="admin",
            region_name="us-east-1",
        )

    def bucket(self, name: str) -> str:
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def body(self, bucket: str, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    @contextlib.contextmanager
    def checking_credentials(self) -> Iterator[None]:
        """Within, signatures count: nobody has an account."""
        self._auth_after("0")
        try:
            yield
        finally:
            self._auth_after("inf")

    def _auth_after(self, requests: str) -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"}, method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["status"] == "ok"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def s3_server(port: int | None = None) -> Iterator[S3Server]:
    port = port or free_port()
    environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        patience = Patience(_BOOT_SECONDS)
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or patience.is_over():
                pytest.fail("moto's server does not start")
            time.sleep(0.05)
        yield S3Server(port)
    finally:
        process.kill()
        process.wait(10)


class MoodyFront(ThreadingHTTPServer):
    """Passes on to a server, but for the next `failures` requests, which it answers with `status`."""

    daemon_threads = True

    def __init__(self, behind_port: int, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behind_port = behind_port
        self.failures = 0
        self.status = 503
        self.resets = 0
        """Of the next so many pictures half is read, then the connection is reset."""
        self.secret_key = ""
        """With it links count only while they are fresh, and signed with it."""
        self.delay_seconds = 0.0
        self.busy = self.most_busy = self.answered = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MoodyFront

    def do_PUT(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def do_HEAD(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        server = self.server
        length = int(self.headers.get("Content-Length") or 0)
        if self._resets(length):
            return
        body = self.rfile.read(length)
        if server.secret_key and "X-Amz-Signature=" in self.path and not self._is_signed(server.secret_key):
            self._answer(403, {}, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
            return
        with server.lock:
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
            failing = server.failures > 0
            server.failures -= failing
        if server.delay_seconds:
            time.sleep(server.delay_seconds)
        with server.lock:
            server.busy -= 1
            server.answered += 1
        if failing:
            self._answer(server.status, {}, b"<Error><Code>SlowDown</Code><Message>Reduce</Message></Error>")
            return
        connection = HTTPConnection("127.0.0.1", server.behind_port, timeout=10)
        # The signature covers Host, so it is passed on as it came.
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        self._answer(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()

    def _resets(self, length: int) -> bool:
        with self.server.lock:
            resets = self.command == "PUT" and self.server.resets > 0
            self.server.resets -= resets
        if resets:
            self.rfile.read(length // 2)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        return resets

    def _is_signed(self, secret_key: str) -> bool:
        """As a store judges it: signature version 4 in a query, of AWS's documentation."""
        path, _, query = self.path.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        signature = given.pop("X-Amz-Signature")
        began = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        fresh = began <= datetime.now(UTC) <= began + timedelta(seconds=int(given["X-Amz-Expires"]))
        scope = given["X-Amz-Credential"].partition("/")[2]
        asked = urlencode(sorted(given.items()), quote_via=quote, safe="-_.~")
        request = f"GET\n{path}\n{asked}\nhost:{self.headers['Host']}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = f"AWS4{secret_key}".encode()
        for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{given['X-Amz-Date']}\n{scope}\n{digest}"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return fresh and key.hex() == signature

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        length = (
            headers.get("Content-Length", headers.get("content-length", "0")) if self.command == "HEAD" else len(body)
        )
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")  # a server that is gone answers nobody, on no old connection either
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextlib.contextmanager
def moody_front(behind_port: int, port: int = 0) -> Iterator[MoodyFront]:
    server = MoodyFront(behind_port, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
