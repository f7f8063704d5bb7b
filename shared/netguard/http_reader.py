"""HTTP and HTTPS as a file that libav reads: pinned addresses, checked redirects, ranges for seeking, deadlines."""

import http.client
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound, Unavailable
from shared.netguard.guard import check
from shared.netguard.http_auth import authorization, pick_challenge
from shared.netguard.interrupt import watch
from shared.netguard.pinned_connection import PinnedConnection
from shared.netguard.playlist_limit import PlaylistLimit
from shared.netguard.url import GuardedUrl
from shared.urls import scrub

_MAX_REDIRECTS = 5  # more is a loop
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_SKIP_BYTES = 256 * 1024  # a seek this little ahead is cheaper read than asked for
_DEFAULT_READ_BYTES = 64 * 1024
# Asked for after a seek, twice as much whenever that was read to its end: who jumps about wants little of each place,
# and what a server has sent already cannot be taken back.
_FIRST_WINDOW_BYTES = 512 * 1024
_MAX_REASON_CHARACTERS = 60
_HEAD_BYTES = 64  # tells containers and pages apart, and has the first boxes of an MP4
_USER_AGENT = "framemesh"
_CONTENT_RANGE = re.compile(r"^bytes (\d+)-")
_TRANSPORT_ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: until a response has begun (redirects included), and without any byte of a body."""

    open_seconds: float = 10.0
    read_seconds: float = 10.0


class HttpReader:
    """A file-like object over one HTTP resource, read in order or, where the server knows ranges, anywhere.

    Endless bodies are fine. One thread at a time. Every method that talks to the server raises
    MeshError: InvalidValue for a forbidden redirect, NotFound, BadRequest or Unavailable for what the server answers.
    """

    def __init__(
        self,
        guarded: GuardedUrl,
        timeouts: Timeouts | None = None,
        start: int = 0,
        end: int | None = None,
        credentials: GuardedUrl | None = None,
        count: Callable[[int], None] | None = None,
    ) -> None:
        """`count` is told how many bytes have come; what it raises ends the reading."""
        self.url = guarded
        """Where the redirects led."""
        self._first = guarded
        # Whose user name and password to use, for its own origin only.
        self._credentials = credentials or guarded
        self._challenge = ""
        self._timeouts = timeouts or Timeouts()
        self._end = end
        self._position = self._body_position = start
        self._body_end: int | None = None
        self._window_bytes = 0  # 0: all there is
        self._window_end: int | None = None
        self._ranges = False
        self._connection: PinnedConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._limit: PlaylistLimit | None = None
        self._count = count
        self._refused: MeshError | None = None
        self._aborted = False
        self._head = b""
        self.content_type = ""
        """As the server calls it, without parameters: `text/html`. A stranger's words, printable."""
        watch(self)
        self._open(start)

    @property
    def name(self) -> str:
        """What libav resolves relative playlist entries against; without credentials."""
        return self.url.at(self.url.host, userinfo=False)

    @property
    def endless(self) -> bool:
        """The server tells no length: a live stream, which comes at its own speed."""
        return self._body_end is None

    @property
    def size_bytes(self) -> int | None:
        """Of the whole resource, as the server tells it."""
        return self._body_end

    def head(self) -> bytes:
        """The first 64 bytes, or as many as there are; reading begins with them all the same."""
        while self._body_position == len(self._head) < _HEAD_BYTES:
            data = self._read(_HEAD_BYTES - len(self._head))
            if not data:
                break
            self._head += data
        return self._head

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._ranges and self._body_end is not None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move without asking the server; the next read does."""
        base = {0: 0, 1: self._position, 2: self._body_end}.get(whence)
        if base is None or base + offset < 0:
            raise BadRequest(f"{self.what}: cannot seek there")
        self._position = base + offset
        return self._position

    def read(self, size: int = _DEFAULT_READ_BYTES) -> bytes:
        """Up to `size` bytes as soon as there are some; empty at the end."""
        if size <= 0:
            return b""
        if self._refused is not None:  # libav tries other places of it before it gives up
            raise self._refused
        if self._body_end is not None and self._position >= self._body_end:
            return b""
        if self._position < len(self._head):
            data = self._head[self._position : self._position + size]
            self._position += len(data)
            return data
        if self._position != self._body_position or self._response is None:
            self._move()
        data = self._read(size)
        self._position = self._body_position
        return data

    def abort(self) -> None:
        """From another thread: end a read that waits, and every one after it."""
        self._aborted = True
        if (connection := self._connection) is not None:
            connection.abort()

    def close(self) -> None:
        response, self._response = self._response, None
        connection, self._connection = self._connection, None
        for thing in (response, connection):
            if thing is not None:
                with suppress(*_TRANSPORT_ERRORS):
                    thing.close()

    def __del__(self) -> None:
        # libav's containers never close the file they were given; they let go of it.
        if hasattr(self, "_response"):
            self.close()

    @property
    def what(self) -> str:
        """How it is called in errors."""
        return f"{self._first.field_name} {self._first.shown!r}"

    def _move(self) -> None:
        ahead = self._position - self._body_position
        if self._response is not None and 0 < ahead <= _SKIP_BYTES:
            while self._body_position < self._position:
                if not self._read(self._position - self._body_position):
                    return
            return
        self._window_bytes = _FIRST_WINDOW_BYTES if self.seekable() else 0
        self._open(self._position)

    def _read(self, size: int) -> bytes:
        if self._body_position == self._window_end:
            self._window_bytes *= 2
            self._open(self._body_position)
        if self._response is None:
            return b""
        end = self._body_end if self._window_end is None else self._window_end
        if end is not None:
            size = min(size, end - self._body_position)
        try:
            data = self._response.read1(size)
        except _TRANSPORT_ERRORS as error:
            raise self._ended(self._broken(error, self._timeouts.read_seconds)) from None
        if not data and size and end is not None:
            raise self._ended(
                Unavailable(f"{self.what}: the server closed the connection after {self._body_position} of {end} bytes")
            )
        self._body_position += len(data)
        try:
            if self._limit is not None:
                self._limit.note(data)
            if self._count is not None:
                self._count(len(data))
        except MeshError as error:
            self._refused = error
            self.close()
            raise
        return data

    def _ended(self, why: MeshError) -> MeshError:
        self.close()
        if not self.seekable():  # what is missing cannot be asked for; that would hide why
            self._refused = why
        return why

    def _open(self, start: int) -> None:
        """Ask for the body from `start` on, following redirects that pass."""
        self.close()
        if self._aborted:
            raise Unavailable(f"{self.what}: given up")
        deadline = time.monotonic() + self._timeouts.open_seconds
        guarded = self.url
        asked = False
        for _ in range(_MAX_REDIRECTS + 2):  # one more for the credentials
            headers = authorization(guarded, self._credentials, self._challenge)
            response = self._request(guarded, start, deadline, headers)
            if response.status in _REDIRECTS:
                guarded = self._redirected(guarded, response.getheader("Location", ""))
            elif response.status == 401 and not asked and self._credentials.username is not None:
                asked = True
                self._challenge = pick_challenge(response.headers.get_all("WWW-Authenticate", []))
            else:
                self._accept(guarded, response, start)
                return
        self.close()
        raise Unavailable(f"{self.what}: more than {_MAX_REDIRECTS} redirects")

    def _request(
        self, guarded: GuardedUrl, start: int, deadline: float, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        self.close()
        left_seconds = max(deadline - time.monotonic(), 0.001)  # 0 would mean non-blocking
        connection = self._connection = PinnedConnection(guarded, left_seconds)
        # The socket's timeout starts again with every byte; a server that drips its header is cut off here.
        watchdog = threading.Timer(left_seconds, connection.abort)
        watchdog.daemon = True
        watchdog.start()
        end = "" if self._end is None else str(self._end - 1)
        if self._window_bytes and self._body_end is not None:
            end = str(min(start + self._window_bytes, self._body_end) - 1)
        try:
            connection.request(
                "GET",
                guarded.target,
                headers={
                    "User-Agent": _USER_AGENT,
                    "Accept": "*/*",
                    "Range": f"bytes={start}-{end}",
                    "Connection": "close",
                    **headers,
                },
            )
            response = self._response = connection.getresponse()
        except _TRANSPORT_ERRORS as error:
            self.close()
            late = TimeoutError() if connection.aborted else error
            raise self._broken(late, self._timeouts.open_seconds) from None
        finally:
            watchdog.cancel()
        return response

    def _redirected(self, guarded: GuardedUrl, location: str) -> GuardedUrl:
        target = urljoin(guarded.at(guarded.host, userinfo=False), location)
        policy = guarded.policy.only("http", "https")
        return check(target, policy, f"{self._first.field_name} {self._first.shown!r} redirects to")

    def _accept(self, guarded: GuardedUrl, response: http.client.HTTPResponse, start: int) -> None:
        """Keep a response that carries the body; raise for any other."""
        status = response.status
        matched = _CONTENT_RANGE.match(response.getheader("Content-Range", "")) if status == 206 else None
        begins = int(matched[1]) if matched else 0
        if status == 416 and start > 0:  # beyond the end
            self.close()
            self._body_position = self._body_end = start
            self._window_end = None
            return
        if status == 416:
            self.close()
            raise BadRequest(f"{self.what}: there is nothing in it, 0 bytes; put the whole file there")
        if status not in (200, 206):
            self.close()
            raise _status_error(self.what, status, self._shown(response.reason))
        if begins != start:
            self.close()
            raise Unavailable(f"{self.what}: the server does not answer with the range that was asked for")
        length = response.length
        self.url = guarded
        self.content_type = self._shown(response.getheader("Content-Type", "").partition(";")[0])
        self._limit = None if start else PlaylistLimit(self.what, self._timeouts.open_seconds)
        self._ranges = status == 206 or "bytes" in response.getheader("Accept-Ranges", "")
        self._body_position = start
        end = None if length is None else start + length
        # Of a window the end is not the body's; what is shorter than it was is found out by asking for more.
        windowed = self._window_bytes and end is not None and self._body_end is not None and end < self._body_end
        self._window_end = end if windowed else None
        if not windowed:
            self._body_end = end
        if self._connection is not None:
            self._connection.set_read_timeout(self._timeouts.read_seconds)

    def _shown(self, reason: str) -> str:
        """What a server says of its status: a stranger's words, who may have been told the password."""
        secrets = (self._credentials.url, self._first.url, self.url.url)
        return _printable(scrub(reason, secrets)[:_MAX_REASON_CHARACTERS])

    def _broken(self, error: Exception, seconds: float) -> MeshError:
        if isinstance(error, TimeoutError):
            return Unavailable(f"{self.what}: no answer within {seconds:g} s")
        if isinstance(error, ssl.SSLCertVerificationError):
            return Unavailable(f"{self.what}: the certificate is not valid for {self.url.host}: {error.verify_message}")
        if isinstance(error, http.client.InvalidURL):
            return InvalidValue(self._first.field_name, self._first.shown, "is not a valid HTTP URL")
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return Unavailable(f"{self.what}: {reason}; is the server running and the address right?")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _status_error(what: str, status: int, reason: str) -> MeshError:
    answer = f"{what}: the server answers {status} {reason}"
    if status in (404, 410):
        return NotFound(answer)
    # Credentials can be put right on the server's side, and devices that start up refuse them for a while: try again.
    if status in (401, 403):
        return Unavailable(f"{answer}; check user name and password")
    return BadRequest(answer) if 400 <= status < 500 and status != 429 else Unavailable(answer)
