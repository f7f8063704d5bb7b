"""What one client asks and is answered (RFC 2326 section 10)."""

import asyncio
import logging
from typing import Protocol

from schemas.errors import MeshError
from schemas.packets import Track
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.credentials import Challenge
from services.publisher.rtsp.feed import tracks_of
from services.publisher.rtsp.feeds import OPEN_SECONDS, Feeds, OpenFeed
from services.publisher.rtsp.messages import REASONS, Headers, Request, RtspError, response
from services.publisher.rtsp.sdp import CONTROL, describe
from services.publisher.rtsp.session import BACKLOG_BYTES, TIMEOUT_SECONDS, Session, Wire
from services.publisher.rtsp.targets import Target, parse_target
from services.publisher.rtsp.transports import choose_transport
from services.publisher.rtsp.udp import UdpPorts
from services.publisher.rtsp.units import TRACK_NUMBERS

log = logging.getLogger(__name__)

_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_KNOWN_ELSEWHERE = frozenset({"ANNOUNCE", "RECORD", "REDIRECT"})
_FIRST_PICTURE_SECONDS = 3.0  # what the answer to PLAY waits for the picture that it tells the numbers of
_MAX_WRONG_PASSWORDS = 4  # a player tries without, with, and its user corrects a slip
_MAX_TOLD_REFUSALS = 8  # of one connection in the log; a client may ask nonsense without end


class Line(Wire, Protocol):
    """The connection, as far as requests go."""

    closed_because: str

    def hear(self) -> None:
        """The client is there."""
        ...

    def close(self, reason: str) -> None: ...


class Dialog:
    """Answers requests, one after another; has the client's rendition and its session."""

    def __init__(
        self,
        line: Line,
        peer: str,
        feeds: Feeds,
        challenge: Challenge,
        udp: UdpPorts | None,
        counters: RtspCounters,
        server: str,
    ) -> None:
        """`peer`: the client's address; `server`: the `Server` header."""
        self._line, self._peer, self._server = line, peer, server
        self._feeds, self._challenge, self._udp, self._counters = feeds, challenge, udp, counters
        self._entry: OpenFeed | None = None
        self._key: tuple[str, str] = ("", "")
        self.session: Session | None = None
        self._wrong_passwords = self._refusals = 0

    async def answer(self, request: Request) -> None:
        """Raises:
        RtspError: it cannot go on with this client.
        """
        if self._line.get_write_buffer_size() > 2 * BACKLOG_BYTES:  # asks and asks, and reads no answer
            raise RtspError(400, "answers are not read", fatal=True)
        try:
            self._check(request)
            match request.method:
                case "OPTIONS":
                    self._reply(request, {"Public": _METHODS})
                case "DESCRIBE":
                    await self._describe(request)
                case "SETUP":
                    await self._set_up(request)
                case "PLAY":
                    await self._play(request)
                case "PAUSE":
                    session = self._session_of(request)
                    session.pause()
                    self._reply(request, {"Session": session.id})
                case "GET_PARAMETER" | "SET_PARAMETER":
                    self._parameter(request)
                case "TEARDOWN":
                    session = self._session_of(request)
                    self._end_session()
                    self._reply(request, {"Session": session.id})
                case method if method in _KNOWN_ELSEWHERE:
                    raise RtspError(405, f"{method} is not served; streams are pulled here", {"Allow": _METHODS})
                case method:
                    raise RtspError(501, f"{method} is not known", {"Public": _METHODS})
        except RtspError as error:
            if error.fatal:
                error.cseq = request.cseq
                raise
            self.refuse(error, request.cseq)
        except MeshError as error:
            status = error.code if error.code in REASONS else 503
            self.refuse(RtspError(status, error.message), request.cseq)

    def _check(self, request: Request) -> None:
        """Refuse what is asked for by nobody who may, or in a dialect that is not spoken."""
        if required := request.headers.get("require") or request.headers.get("proxy-require"):
            raise RtspError(551, f"option {required} is not known", {"Unsupported": required})
        if request.method == "OPTIONS":
            return
        authorization = request.headers.get("authorization", "")
        if self._challenge.passes(request.method, authorization):
            return
        self._wrong_passwords += bool(authorization)
        if self._wrong_passwords >= _MAX_WRONG_PASSWORDS:
            raise RtspError(403, "too many wrong passwords", fatal=True)
        raise RtspError(401, "a name and a password are needed", {"WWW-Authenticate": self._challenge.headers})

    async def _describe(self, request: Request) -> None:
        accept = request.headers.get("accept", "application/sdp")
        if "application/sdp" not in accept and "*/*" not in accept:
            raise RtspError(415, f"{accept} is not known; application/sdp is")
        target = parse_target(request.uri)
        entry = await self._open(target)
        sdp = describe(entry.feed.name, entry.feed.session, tracks_of(entry.feed, target.sound))
        headers = {"Content-Base": f"{target.base}/", "Content-Type": "application/sdp", "Cache-Control": "no-cache"}
        self._reply(request, headers, sdp)

    async def _set_up(self, request: Request) -> None:
        target = parse_target(request.uri)
        session = self._session_of(request) if "session" in request.headers else self.session
        if session is not None and session.playing:
            raise RtspError(455, "pause first")
        if session is not None and (target.stream, target.rendition) != self._key:
            raise RtspError(459, "one session is of one rendition")
        local = self._udp if session is None or not session.tracks or session.over_udp else None
        transport = choose_transport(request.headers.get("transport", ""), self._peer, udp=local is not None)
        entry = await self._open(target)
        track = target.track or next(iter(entry.feed.tracks))
        if track not in entry.feed.tracks:
            raise RtspError(404, f"{entry.feed.name} has no {track}")
        if session is None:
            session = Session(entry.feed, self._line, self._peer, self._udp, self._counters, self._feed_ended)
            session.heard = self._line.hear
            self.session = session
        way = session.set_up(track, transport)
        self._reply(request, {"Transport": way, "Session": f"{session.id};timeout={TIMEOUT_SECONDS}"})

    async def _play(self, request: Request) -> None:
        session = self._session_of(request)
        target = parse_target(request.uri)
        if not session.tracks:
            raise RtspError(455, "set a track up first")
        headers = {"Session": f"{session.id};timeout={TIMEOUT_SECONDS}", "Range": "npt=now-"}
        if session.playing:
            self._reply(request, headers)
            return
        if session.feed.ended_because:  # while it was paused; players take the end for the end, and ask again
            raise RtspError(454, session.feed.ended_because, fatal=True)
        answered = asyncio.Event()

        def begun(first: dict[Track, tuple[int, int]]) -> None:
            told = ",".join(
                f"url={target.base}/{CONTROL}{TRACK_NUMBERS[track]};seq={sequence};rtptime={timestamp}"
                for track, (sequence, timestamp) in first.items()
            )
            self._reply(request, {**headers, "RTP-Info": told})
            answered.set()

        session.play(begun)
        log.info("%s pulls %s over %s", self._peer, session.feed.name, "UDP" if session.over_udp else "TCP")
        try:
            async with asyncio.timeout(_FIRST_PICTURE_SECONDS):
                await answered.wait()
        except TimeoutError:
            if session.begin_unheard():
                self._reply(request, headers)

    def _parameter(self, request: Request) -> None:
        """Players keep their session alive with it; there are no parameters."""
        headers: dict[str, str] = {}
        if "session" in request.headers:
            headers["Session"] = self._session_of(request).id
        if request.body.strip():
            raise RtspError(451, "there are no parameters", headers)
        self._reply(request, headers)

    def let_go(self) -> None:
        """The client has gone."""
        self._end_session()
        self._release()

    # -- what they need ----------------------------------------------------------------------------------------

    def _session_of(self, request: Request) -> Session:
        given = request.headers.get("session", "").partition(";")[0].strip()
        if self.session is None or given != self.session.id:
            raise RtspError(454, "no such session in this connection")
        return self.session

    async def _open(self, target: Target) -> OpenFeed:
        """The feed of the target, when its tracks are known."""
        key = (target.stream, target.rendition)
        if self._entry is None or self._key != key or self._entry.feed.ended_because:
            if self.session is not None:
                raise RtspError(459, "one session is of one rendition")
            self._release()
            self._entry, self._key = await self._feeds.acquire(*key), key
        feed = self._entry.feed
        if not await feed.described(self._feeds.expected(*key), OPEN_SECONDS):
            raise RtspError(503, feed.ended_because or f"no packets of {feed.name} within {OPEN_SECONDS:g} s")
        return self._entry

    def _reply(self, request: Request, headers: Headers, body: str = "") -> None:
        self._line.write(response(200, request.cseq, {"Server": self._server, **headers}, body))

    def refuse(self, error: RtspError, cseq: str) -> None:
        """Answer with an error, and count it."""
        self._counters.refused[error.status] += 1
        if error.status != 401 and self._refusals < _MAX_TOLD_REFUSALS:  # every player asks without a password first
            self._refusals += 1
            log.info("%s: refused with %d: %s", self._peer, error.status, error.text)
        headers = {"Server": self._server, **error.headers, "Content-Type": "text/plain"}
        self._line.write(response(error.status, cseq, headers, error.text + "\n"))

    def _feed_ended(self, reason: str) -> None:
        # Players take the end of the connection for the end of the stream, and ask again.
        self._line.close(reason)

    def _end_session(self) -> None:
        if self.session is not None:
            if self.session.playing:
                log.info("%s no longer pulls %s: %s", self._peer, self.session.feed.name, self._line.closed_because)
            self.session.close()
            self.session = None

    def _release(self) -> None:
        if self._entry is not None:
            self._feeds.release(self._entry)
            self._entry = None
