"""A relay between libav and an RTSP server that lets no redirect through.

libav follows RTSP redirects on its own, to any host. For URLs of strangers it therefore connects to this relay on
loopback, which holds the one connection to the checked address and reads every reply's header. With rtsps the relay
ends TLS, and checks the certificate, which libav does not.
"""

import selectors
import socket
import ssl
import threading
from contextlib import suppress

from schemas.errors import InvalidValue, MeshError, Unavailable
from shared.netguard.url import GuardedUrl

_RECEIVE_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 64 * 1024  # of a reply; a real one has a few hundred
_MAX_BODY_BYTES = 1024 * 1024  # an SDP has a few thousand
_INTERLEAVED = 0x24  # `$`, RFC 2326 section 10.12
_INTERLEAVED_HEAD_BYTES = 4


class RtspRelay:
    """Serves one connection, in a thread that ends with it. `error` says why when it was the relay that ended it."""

    def __init__(self, guarded: GuardedUrl, timeout_seconds: float) -> None:
        self._guarded = guarded
        self._timeout_seconds = timeout_seconds
        self.error: MeshError | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(timeout_seconds)
        self._thread = threading.Thread(target=self._run, name="rtsp-relay", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What libav opens: the relay, with the path and the credentials of the URL. Secret."""
        port = self._listener.getsockname()[1]
        return f"rtsp://{self._guarded.userinfo}127.0.0.1:{port}{self._guarded.target}"

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end of the thread; True when it has ended."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        what = f"{self._guarded.field_name} {self._guarded.shown!r}"
        try:
            with self._listener:
                client, _ = self._listener.accept()
            with client, self._connect() as server:
                client.settimeout(self._timeout_seconds)
                self._copy(client, server)
        except MeshError as error:
            self.error = error
        except ssl.SSLCertVerificationError as error:
            self.error = Unavailable(f"{what}: the certificate is not valid: {error.verify_message}")
        except OSError as error:
            self.error = Unavailable(f"{what}: {error.strerror or 'no answer in time'}")

    def _connect(self) -> socket.socket:
        last: OSError | None = None
        for address in self._guarded.addresses:
            try:
                server = socket.create_connection((address, self._guarded.port), self._timeout_seconds)
            except OSError as error:
                last = error
                continue
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._guarded.scheme != "rtsps":
                return server
            context = ssl.create_default_context()
            if not self._guarded.policy.verify_tls:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            return context.wrap_socket(server, server_hostname=self._guarded.host)
        raise last or ConnectionRefusedError("no address")

    def _copy(self, client: socket.socket, server: socket.socket) -> None:
        replies = _ReplyFilter(self._guarded)
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            # No deadline here: libav has one, and closing its socket ends this wait.
            while True:
                for key, _ in selector.select():
                    if key.fileobj is client:
                        data = client.recv(_RECEIVE_BYTES)
                        server.sendall(data)
                    else:
                        data = server.recv(_RECEIVE_BYTES)
                        while isinstance(server, ssl.SSLSocket) and (pending := server.pending()):
                            data += server.recv(pending)
                        client.sendall(replies.pass_on(data))
                    if not data:
                        with suppress(OSError):
                            client.shutdown(socket.SHUT_RDWR)
                        return


class _ReplyFilter:
    """Follows the server's side of a connection; passes whole replies and interleaved packets on."""

    def __init__(self, guarded: GuardedUrl) -> None:
        self._guarded = guarded
        self._buffer = bytearray()

    def pass_on(self, data: bytes) -> bytes:
        """What may go to libav now.

        Raises:
            InvalidValue: a redirect.
            Unavailable: not RTSP.
        """
        self._buffer += data
        done = 0
        while done < len(self._buffer):
            length = self._interleaved(done) if self._buffer[done] == _INTERLEAVED else self._message(done)
            if length == 0:
                break
            done += length
        passed = bytes(self._buffer[:done])
        del self._buffer[:done]
        return passed

    def _interleaved(self, at: int) -> int:
        head = self._buffer[at : at + _INTERLEAVED_HEAD_BYTES]
        length = _INTERLEAVED_HEAD_BYTES + int.from_bytes(head[2:], "big")
        return length if len(head) == _INTERLEAVED_HEAD_BYTES and at + length <= len(self._buffer) else 0

    def _message(self, at: int) -> int:
        """Bytes of the message at `at`; 0 while it is not whole."""
        position, body = at, 0
        first = True
        # As libav reads: lines end with LF, CR counts for nothing, the first empty line ends the header.
        while (end := self._buffer.find(b"\n", position)) >= 0:
            line = bytes(self._buffer[position:end]).replace(b"\r", b"").lower()
            position = end + 1
            if not line:
                if first:
                    continue
                return position + body - at if position + body <= len(self._buffer) else 0
            self._check_line(line, first)
            if line.startswith(b"content-length:"):
                text = line.partition(b":")[2].strip()
                body = int(text) if text.isdigit() and len(text) < 8 else _MAX_BODY_BYTES + 1
                if body > _MAX_BODY_BYTES:
                    raise self._not_rtsp()
            first = False
        if len(self._buffer) - at > _MAX_HEAD_BYTES:
            raise self._not_rtsp()
        return 0

    def _check_line(self, line: bytes, first: bool) -> None:
        if line.startswith(b"$"):  # libav would read a packet here and we a header
            raise self._not_rtsp()
        words = line.split()
        redirect = first and len(words) > 1 and words[0].startswith(b"rtsp/") and words[1].startswith(b"3")
        if redirect or line.startswith(b"location:"):
            raise InvalidValue(
                self._guarded.field_name, self._guarded.shown, "the server redirects; give the URL where it leads"
            )

    def _not_rtsp(self) -> Unavailable:
        return Unavailable(f"{self._guarded.field_name} {self._guarded.shown!r}: the server does not speak RTSP")
