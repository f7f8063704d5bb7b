"""The guard at the door: who is it, how often do they come, may they. Every request passes it before its route."""

import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from aiohttp import web

from schemas.errors import MeshError, NotFound, TooMany
from schemas.tokens import Action
from services.webrtc_gateway.auth.cookies import Cookies
from services.webrtc_gateway.auth.credentials import token_in
from services.webrtc_gateway.auth.denials import Forbidden, Unauthorized, require
from services.webrtc_gateway.auth.grant import EVERYTHING, GRANT, NOTHING, Grant
from services.webrtc_gateway.auth.owners import Owner, SessionOwners
from services.webrtc_gateway.auth.rules import Rule, rule_of
from services.webrtc_gateway.auth.tokens import Tokens
from services.webrtc_gateway.signalling.whep import refusal, refused
from shared.door.clients import Clients
from shared.door.rates import Buckets

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WITHDRAWN: web.RequestKey[Callable[[], None]] = web.RequestKey("withdrawn")
"""Of a socket's request: what ends what it has begun, where that goes on without the socket."""
FAILURE_BURST = 10  # somebody who pastes the wrong token, and tries again
COMMAND_BURST = 60  # a console that opens and asks for every stream


class Guard:
    """Sets `auth.grant.GRANT` of every request that it lets in."""

    def __init__(
        self,
        tokens: Tokens,
        cookies: Cookies,
        clients: Clients | None = None,
        *,
        sessions_per_second: float = 4.0,
        session_burst: int = 64,
        commands_per_second: float = 20.0,
        failures_per_second: float = 0.5,
    ) -> None:
        """Rates hold for each address and for each token; 0: no limit."""
        self.tokens, self.cookies, self.clients = tokens, cookies, clients or Clients()
        self.refused: Counter[str] = Counter()
        """Requests that were not let in, by reason."""
        self.enders: list[Callable[[str, str], None]] = []
        """Called with stream and session when the rights of whoever opened it were taken away."""
        self.owners = SessionOwners()
        self._sockets: dict[int, tuple[web.Request, Grant]] = {}
        self._sessions = Buckets(sessions_per_second, session_burst)
        self._commands = Buckets(commands_per_second, COMMAND_BURST)
        self._failures = Buckets(failures_per_second, FAILURE_BURST)

    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer the request, or say why not."""
        rule = rule_of(request)
        address = self.clients.address(request)
        try:
            grant = self._grant(request, rule)
        except Unauthorized as error:
            return self._unknown(error, address)
        if wait_seconds := self._too_often(request, rule, grant, address):
            return self._later(f"rate_{rule.kind}", wait_seconds)
        try:
            self._require(request, rule, grant)
        except MeshError as error:
            self.refused["forbidden"] += 1
            return refused(error)
        request[GRANT] = grant
        with self._socket(request, grant):
            response = await handler(request)
        self._note_session(request, response, grant)
        return response

    def admit_within(self, request: web.Request, token: str | None, actions: Sequence[Action], stream: str) -> Grant:
        """Rights of a socket that was let in without, by the token of its first message.

        Raises:
            Unauthorized, Forbidden: the token, or that there is none.
            TooMany: it comes too often.
        """
        address = self.clients.address(request)
        grant = EVERYTHING
        if self.tokens.configured:
            try:
                if token is None:
                    raise Unauthorized
                grant = self.tokens.grant(token)
            except Unauthorized as error:
                self._unknown(error, address)
                raise
        keys = [f"address {address}"] if grant is EVERYTHING else [f"address {address}", f"token {grant.identity}"]
        if wait_seconds := max(self._sessions.take(key) for key in keys):
            self.refused["rate_session"] += 1
            raise TooMany(f"too often; come again in {wait_seconds} s")
        for action in actions:
            try:
                require(grant, action, stream)
            except MeshError:
                self.refused["forbidden"] += 1
                raise
        if id(request) in self._sockets:
            self._sockets[id(request)] = (request, grant)
        return grant

    def end_withdrawn(self) -> None:
        """Tokens or their key have changed: end what those that are gone have opened."""
        for session, stream in self.owners.withdrawn(self.tokens):
            logger.info("session of %s ends: its token was taken back", stream)
            for end in self.enders:
                with contextlib.suppress(NotFound):  # of the other kind, or it has ended by itself
                    end(stream, session)
        for request, grant in list(self._sockets.values()):
            if self.tokens.still(grant) == grant:
                continue
            if request.transport is not None:
                request.transport.abort()  # the page comes back, and is judged anew
            elif WITHDRAWN in request:
                request[WITHDRAWN]()

    @contextlib.contextmanager
    def _socket(self, request: web.Request, grant: Grant) -> Iterator[None]:
        """A WebSocket's handler runs for as long as it is open."""
        if not self.tokens.configured or request.headers.get("Upgrade", "").lower() != "websocket":
            yield
            return
        self._sockets[id(request)] = (request, grant)
        try:
            yield
        finally:
            del self._sockets[id(request)]

    def _grant(self, request: web.Request, rule: Rule) -> Grant:
        if not self.tokens.configured:
            return EVERYTHING
        if rule.open:
            return NOTHING
        token = token_in(request)
        if token is not None:
            return self.tokens.grant(token)
        grant = self.cookies.grant(request, self.tokens)
        if grant is None:
            raise Unauthorized
        return grant

    def _require(self, request: web.Request, rule: Rule, grant: Grant) -> None:
        if rule.open or rule.action is None:
            return
        if rule.streams == "some":
            if rule.action not in grant.actions:
                require(grant, rule.action, None)
            return
        stream = request.match_info["stream"] if rule.streams == "named" else None
        require(grant, rule.action, stream)
        owner = self.owners.of(request.match_info.get("session", ""))
        if owner is None or (owner.grant.identity, owner.stream) == (grant.identity, stream):
            return
        if not grant.may("control", owner.stream):
            scope = f"control:{owner.stream}"
            raise Forbidden("another token opened this session; only that one and action control may touch it", scope)

    def _too_often(self, request: web.Request, rule: Rule, grant: Grant, address: str) -> int:
        if rule.kind == "command":
            buckets = self._commands
        elif rule.kind == "session" and request.method == "POST":
            buckets = self._sessions
        else:
            return 0
        keys = [f"address {address}"]
        if grant is not EVERYTHING:
            keys.append(f"token {grant.identity}")
        return max(buckets.take(key) for key in keys)

    def _unknown(self, error: Unauthorized, address: str) -> web.Response:
        """A token that was wrong costs; a page that has none yet is only told to bring one.

        Whoever brings a good one is let in however often others of the same address fail: tokens are too long to be
        guessed, and nobody behind a shared address shall lock out the rest.
        """
        if error.description:
            self.refused["unknown"] += 1
            if wait_seconds := self._failures.take(address):
                return self._later("rate_failures", wait_seconds)
            logger.info("a token from %s is not taken: %s", address, error.description)
        else:
            self.refused["no_token"] += 1
        return refused(error)

    def _later(self, reason: str, wait_seconds: int) -> web.Response:
        self.refused[reason] += 1
        response = refusal(429, f"too often; come again in {wait_seconds} s")
        response.headers["Retry-After"] = str(wait_seconds)
        return response

    def _note_session(self, request: web.Request, response: web.StreamResponse, grant: Grant) -> None:
        if not self.tokens.configured:
            return
        stream = request.match_info.get("stream", "")
        if request.method == "POST" and response.status == 201 and "Location" in response.headers:
            session = response.headers["Location"].rpartition("/")[2]
            self.owners.opened(session, Owner(grant, stream))
        elif request.method == "DELETE" and response.status == 200:
            self.owners.closed(request.match_info.get("session", ""))
