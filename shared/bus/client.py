"""nats-py's client, which goes on reading whatever a message is called and whatever stands in its headers, and whose
JetStream keeps with each message which story it belongs to."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import PubAck

from schemas.errors import BadRequest
from schemas.trace import TRACEPARENT
from shared.bus.arrivals import ArrivedMsg
from shared.bus.refusals import AccessFailed, NotAllowed
from shared.bus_access import CA_VARIABLE, BusAccess
from shared.cause import current
from shared.nkey import sign


class CausedJetStream(JetStreamContext):
    """What is kept tells what caused it: who acts on it later, on whichever host, goes on with that story."""

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float | None = None,
        stream: str | None = None,
        headers: dict[str, Any] | None = None,
        msg_ttl: float | None = None,
    ) -> PubAck:
        """As of nats-py."""
        cause = current()
        if cause is not None:
            headers = {TRACEPARENT: cause.traceparent, **(headers or {})}
        return await super().publish(subject, payload, timeout, stream, headers, msg_ttl)


class ReadingClient(Client):
    """A name that is not UTF-8, or headers that are none, end nats-py's reading: whoever may send one message would
    take the bus from everybody who gets it, for as long as a silent server is waited for.

    Such a message is told of too: a watch that misses one begins again, and finds it again.
    """

    @property
    def domain(self) -> object:
        """Of its server's JetStream; None where it has no name."""
        return self._server_info.get("domain")

    def jetstream(self, **options: Any) -> JetStreamContext:
        return CausedJetStream(self, **options)

    def __init__(self) -> None:
        super().__init__()
        self.access = BusAccess()
        self.party = ""
        self._asking: dict[str, set[asyncio.Timeout]] = {}
        """Requests under way, by their subjects in small letters."""

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Of the files as they are at this connect. (Some KiB, read where the loop is: nats-py asks for it there, and
        nothing of this connection goes on meanwhile anyhow.)"""
        with _failing_as_nats():
            return self.access.tls_context()

    def _connect_command(self) -> bytes:
        with _failing_as_nats():
            credentials = self.access.read_credentials()
        if credentials is not None and (nonce := self._server_info.get("nonce")):
            signed = sign(credentials, nonce)
            # nats-py reads a seed's public key once for ever; ours may be another at each connect.
            self._signature_cb = lambda _nonce: signed.signature.encode()
            self._user_jwt_cb = (lambda: bytearray(credentials.jwt.encode())) if credentials.jwt else None
            self._public_nkey = None if credentials.jwt else signed.public_key
            self._auth_configured = True
        return super()._connect_command()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self.access.tls_required:
            if not (info.get("tls_required") or info.get("tls_available")):
                # Also where somebody on the way has taken it out: nothing is told to a server that cannot be known.
                raise AccessFailed(f"it offers no TLS, which {CA_VARIABLE} asks for")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """As of nats-py, but one that the server refuses ends at once.

        Raises:
            NotAllowed: this party may not publish to `subject`.
        """
        given_up: asyncio.Timeout | None = None
        try:
            async with asyncio.timeout(None) as given_up:
                self._asking.setdefault(subject.lower(), set()).add(given_up)
                return await super().request(subject, payload, timeout, old_style, headers)
        except TimeoutError:
            if given_up is not None and given_up.expired():
                raise NotAllowed(f"{self.party_name} may not publish to {subject}") from None
            raise
        finally:
            waiting = self._asking.get(subject.lower(), set())
            waiting.discard(given_up)
            if not waiting:
                self._asking.pop(subject.lower(), None)

    @property
    def party_name(self) -> str:
        """Who we are to the server, as its users are called, else as this connection is."""
        return self.party or str(self.options.get("name") or "this connection")

    def refused(self, subject: str) -> None:
        """Tell those who ask on `subject`, in small letters, that the server did not let them."""
        now = asyncio.get_running_loop().time()
        for given_up in self._asking.get(subject, ()):
            if not given_up.expired():
                given_up.reschedule(now)

    @property
    def clustered(self) -> bool:
        """Its server is one of several that keep state together."""
        return bool(self._server_info.get("cluster"))

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return ArrivedMsg(
            _client=self,
            subject=subject.decode(errors="replace"),
            reply=reply.decode(errors="replace"),
            data=data,
            headers=headers,
            _sid=sid,
        )


@contextlib.contextmanager
def _failing_as_nats() -> Iterator[None]:
    """Between attempts a file may be wrong for a moment: nats-py tries again after errors of its own kind only."""
    try:
        yield
    except BadRequest as error:
        raise AccessFailed(error.message) from None
