"""Carries messages to one camera: always to the address that was checked, within a time and a size."""

import http.client
import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import SplitResult, unquote, urlsplit
from xml.etree.ElementTree import Element

from schemas.errors import Unavailable
from services.capture.onvif import soap
from services.capture.onvif.xml import MAX_XML_BYTES
from shared.netguard import GuardedUrl
from shared.netguard.http_auth import authorization, pick_challenge
from shared.netguard.pinned_connection import PinnedConnection

log = logging.getLogger(__name__)

DEVICE_PATH = "/onvif/device_service"  # ONVIF Core 5.1.1: the same at every camera
_READ_BYTES = 64 * 1024
_LEAST_SECONDS = 0.001  # 0 would mean not to wait at all
_FAULT_STATUSES = frozenset((400, 500))  # SOAP 1.2 part 2, 7.5.2.2: they carry a fault that says more
_TRANSPORT_ERRORS = (OSError, http.client.HTTPException)


class Transport:
    """Sends calls to one camera. Each has a connection of its own; any thread may call."""

    def __init__(self, guarded: GuardedUrl) -> None:
        """`guarded`: the checked onvif:// URL, with credentials."""
        self._guarded = guarded
        self._open: set[PinnedConnection] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.credentials = (
            soap.Credentials(unquote(guarded.username), unquote(guarded.password or "")) if guarded.username else None
        )
        self.peer = guarded.addresses[0]
        """The address that answered last."""

    @property
    def what(self) -> str:
        return f"source {self._guarded.shown}"

    def call(
        self,
        url: str,
        body: str,
        *,
        seconds: float,
        header: str = "",
        anonymous: bool = False,
    ) -> Element:
        """Send `body` to the camera's service at `url`; the body of its answer. Blocks.

        Args:
            url: as the camera told it. Its path and, where it names this very camera, its port are used.
            seconds: for everything, from connecting to the last byte.
            anonymous: the call needs no credentials, and these are kept back.

        Raises:
            Fault, NotAuthorized: the camera refuses.
            Unavailable: it does not answer, in time or at all, or not with SOAP.
        """
        deadline = time.monotonic() + seconds
        target = self._target(url)
        message = soap.envelope(body, None if anonymous else self.credentials, header)
        status, challenge, data = self._post(target, message, {}, seconds, seconds)
        if status == 401 and challenge and not anonymous:
            # With a fresh token too: cameras remember the nonces that they have seen.
            message = soap.envelope(body, self.credentials, header)
            status, _, data = self._post(
                target, message, self._authorization(target, challenge), seconds, deadline - time.monotonic()
            )
        if status in (401, 403):
            raise soap.refused_credentials(self.what)
        if status != 200 and not (status in _FAULT_STATUSES and data):
            raise Unavailable(f"{self.what}: answers with HTTP status {status}; is this an ONVIF camera?")
        return soap.answer(data, self.what, self._guarded.url)

    def here(self, told: SplitResult, port: int) -> str:
        """A URL that the camera told us, at the address where it answered, with our credentials. Secret.

        On no other host: it could be anybody's, and cameras behind a router name the one that only they can reach.
        """
        if told.hostname not in (self._guarded.host, self.peer):
            log.info("%s: the camera names another host for its pictures; they are asked for at its own", self.what)
        scheme, path, query = told.scheme, told.path, told.query
        return replace(self._guarded, scheme=scheme, port=port, path=path, query=query).at(self.peer)

    def interrupt(self) -> None:
        """End what waits now, in whatever thread."""
        with self._lock:
            waiting = tuple(self._open)
        for connection in waiting:
            connection.abort()

    def abort(self) -> None:
        """End what waits; later calls fail."""
        self._closed = True
        self.interrupt()

    def _target(self, url: str) -> GuardedUrl:
        """A place at this camera: the camera may say where its services are, but not on which host."""
        guarded = self._guarded
        path, query, port = DEVICE_PATH, "", guarded.port
        with suppress(ValueError):  # a broken URL: the one place that every camera has
            parts = urlsplit(url)
            path, query = parts.path or path, parts.query
            if parts.scheme == "http" and parts.hostname in (guarded.host, self.peer):
                port = parts.port or 80
        return replace(guarded, scheme="http", port=port, path=path, query=query)

    def _authorization(self, target: GuardedUrl, challenge: str) -> dict[str, str]:
        if not challenge.lower().startswith("digest"):
            # Basic would give the password to whoever asks; ONVIF Core 5.9.1 wants digest.
            raise Unavailable(f"{self.what}: asks for the password in clear text; switch its HTTP digest login on")
        # The camera that we were told to ask is the origin, whichever of its ports answers.
        return authorization(target, target, challenge, method="POST")

    def _post(
        self, target: GuardedUrl, message: bytes, headers: dict[str, str], seconds: float, left_seconds: float
    ) -> tuple[int, str, bytes]:
        """(status, challenge, body) of the answer. `left_seconds` are left of the call's `seconds`."""
        left_seconds = max(left_seconds, _LEAST_SECONDS)
        connection = PinnedConnection(target, left_seconds)
        with self._lock:
            if self._closed:
                raise Unavailable(f"{self.what}: the stream has ended")
            self._open.add(connection)
        # The socket's own timeout is for each read: a camera that sends a byte a second would never meet it.
        deadline = threading.Timer(left_seconds, connection.abort)
        deadline.daemon = True
        deadline.start()
        try:
            connection.connect()
            if connection.aborted:
                raise TimeoutError
            self.peer = str(connection.sock.getpeername()[0])
            kind = {"Content-Type": "application/soap+xml; charset=utf-8", "Connection": "close"}
            connection.request("POST", target.target, message, {**kind, **headers})
            response = connection.getresponse()
            data = _read(response)
        except (*_TRANSPORT_ERRORS, ValueError) as error:  # ValueError: what no header may hold
            raise self._broken(error, connection.aborted, seconds) from None
        finally:
            deadline.cancel()
            with self._lock:
                self._open.discard(connection)
            with suppress(*_TRANSPORT_ERRORS):
                connection.close()
        if connection.aborted:  # a body without a length ends where the connection does
            raise self._broken(TimeoutError(), True, seconds)
        if data is None:
            raise Unavailable(f"{self.what}: the answer has more than {MAX_XML_BYTES} bytes")
        challenges = response.headers.get_all("WWW-Authenticate")
        return response.status, pick_challenge(challenges) if challenges else "", data

    def _broken(self, error: Exception, aborted: bool, seconds: float) -> Unavailable:
        if self._closed:
            return Unavailable(f"{self.what}: the stream has ended")
        if aborted or isinstance(error, TimeoutError):
            return Unavailable(f"{self.what}: no answer within {seconds:.0f} s; is it switched on and reachable?")
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return Unavailable(f"{self.what}: {reason}; is ONVIF switched on in the camera, and the port right?")


def _read(response: http.client.HTTPResponse) -> bytes | None:
    """The body; None when it is too long."""
    parts, size = [], 0
    while part := response.read1(_READ_BYTES):
        size += len(part)
        if size > MAX_XML_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
