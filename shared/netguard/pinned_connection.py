"""An HTTP connection to the address that was checked, under the name that was asked for."""

import http.client
import socket
import ssl
import time
from contextlib import suppress

from shared.netguard.url import GuardedUrl


class PinnedConnection(http.client.HTTPConnection):
    """Connects to the resolved addresses, in order, while Host and TLS name stay those of the URL."""

    def __init__(self, guarded: GuardedUrl, timeout_seconds: float) -> None:
        super().__init__(guarded.host, guarded.port, timeout=timeout_seconds)
        # The Host header leaves out the port that the scheme implies.
        self.default_port = 443 if guarded.scheme == "https" else 80
        self._guarded = guarded
        self._open_seconds = timeout_seconds
        self._raw: socket.socket | None = None
        self.aborted = False

    def connect(self) -> None:
        raw = self._raw = self._connect_pinned()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._guarded.scheme == "https":
            context = ssl.create_default_context()
            if not self._guarded.policy.verify_tls:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            # The handshake comes after `_raw` is set, so that `abort` reaches it.
            wrapped = context.wrap_socket(raw, server_hostname=self._guarded.host, do_handshake_on_connect=False)
            self._raw = wrapped
            wrapped.do_handshake()
        self.sock = self._raw

    def _connect_pinned(self) -> socket.socket:
        deadline = time.monotonic() + self._open_seconds
        last: OSError | None = None
        for address in self._guarded.addresses:
            try:
                left_seconds = max(deadline - time.monotonic(), 0.001)
                return socket.create_connection((address, self._guarded.port), left_seconds)
            except OSError as error:
                last = error
        raise last or ConnectionRefusedError("no address")

    def set_read_timeout(self, seconds: float) -> None:
        if self._raw is not None and self._raw.fileno() >= 0:
            self._raw.settimeout(seconds)

    def abort(self) -> None:
        """From another thread: end whatever waits on the socket."""
        self.aborted = True
        if self._raw is not None:
            with suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)
