"""One client's TCP connection: its requests, one after another, and the media interleaved between the answers."""

import asyncio
import logging
import time
from typing import cast

from schemas.errors import MeshError
from schemas.packets import Track
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.credentials import Challenge
from services.publisher.rtsp.feed import tracks_of
from services.publisher.rtsp.feeds import OPEN_SECONDS, Feeds, OpenFeed
from services.publisher.rtsp.messages import REASONS, Headers, Request, RtspError, read_message, response
from services.publisher.rtsp.sdp import CONTROL, describe
from services.publisher.rtsp.session import BACKLOG_BYTES, TIMEOUT_SECONDS, Session
from services.publisher.rtsp.targets import Target, parse_target
from services.publisher.rtsp.transports import choose_transport
from services.publisher.rtsp.udp import UdpPorts
from services.publisher.rtsp.units import TRACK_NUMBERS

log = logging.getLogger(__name__)

_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_KNOWN_ELSEWHERE = frozenset({"ANNOUNCE", "RECORD", "REDIRECT"})
_FIRST_PICTURE_SECONDS = 3.0  # what the answer to PLAY waits for the picture that it tells the numbers of
_IDLE_SECONDS = 20.0  # a connection without a session; players ask within a second
_STALLED_SECONDS = 10.0  # a client whose connection takes not one byte for so long is gone
_GRACE_SECONDS = 5.0  # of the session's timeout, for what is under way
_MAX_WRONG_PASSWORDS = 4  # a player tries without, with, and its user corrects a slip
# For the last answer and what is on its way; who reads nothing must not keep 8 MB and a socket for ever.
_FAREWELL_SECONDS = 1.0
_MAX_TOLD_REFUSALS = 8  # of one connection in the log; a client may ask nonsense without end


class Connection:
    """Serves one client until it leaves, is idle for too long, or its rendition ends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        feeds: Feeds,
        challenge: Challenge,
        udp: UdpPorts | None,
        counters: RtspCounters,
        server: str,
    ) -> None:
        """`server`: the `Server` header."""
        self._reader, self._writer = reader, writer
        self._wire = cast(asyncio.Transport, writer.transport)
        self._feeds, self._challenge, self._udp, self._counters, self._server = feeds, challenge, udp, counters, server
        self.peer: str = writer.get_extra_info("peername")[0]
        self._entry: OpenFeed | None = None
        self._key: tuple[str, str] = ("", "")
        self._session: Session | None = None
        self._heard_s = time.monotonic()
        self._wrong_passwords = self._refusals = 0
        self._written = 0
        self._gone_bytes = 0
        self._gone_s = time.monotonic()
        self.closed_because = "the client left"

    # -- life --------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Read and answer until the connection ends; lets go of everything then."""
        try:
            while (message := await read_message(self._reader)) is not None:
                self._hear()
                if isinstance(message, Request):
                    await self._answer(message)
                # What has come already is read without a wait: thousands of tiny messages would hold all others up.
                await asyncio.sleep(0)
        except RtspError as error:
            self._refuse(error, error.cseq)
            self.closed_because = error.text
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # it is gone, or the server closes it; why is known
        finally:
            self._let_go()
            await self._say_farewell()

    def close(self, reason: str) -> None:
        """End it, after what is on its way."""
        self.closed_because = reason
        self._writer.close()
        self._reader.feed_eof()

    def tick(self) -> None:
        """Once a second: whether the client is still there."""
        now = time.monotonic()
        waiting = self._wire.get_write_buffer_size()
        gone = self._written - waiting
        if gone != self._gone_bytes or not waiting:
            self._gone_bytes, self._gone_s = gone, now
        if now - self._gone_s > _STALLED_SECONDS:
            self._wire.abort()  # there is no use in waiting until it reads
            self.close(f"it read nothing for {_STALLED_SECONDS:g} s")
            return
        session = self._session
        if session is not None and session.playing and not session.over_udp:
            return  # what it reads tells that it is there
        limit = _IDLE_SECONDS if session is None else TIMEOUT_SECONDS + _GRACE_SECONDS
        if now - self._heard_s > limit:
            self.close(f"nothing was heard of it for {limit:g} s")

    # -- `session.Wire` ----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self._wire.is_closing():
            self._written += len(data)
            self._wire.write(data)

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    # -- requests ----------------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> None:
        if self.get_write_buffer_size() > 2 * BACKLOG_BYTES:  # asks and asks, and reads no answer
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
            self._refuse(error, request.cseq)
        except MeshError as error:
            status = error.code if error.code in REASONS else 503
            self._refuse(RtspError(status, error.message), request.cseq)

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
        session = self._session_of(request) if "session" in request.headers else self._session
        if session is not None and session.playing:
            raise RtspError(455, "pause first")
        if session is not None and (target.stream, target.rendition) != self._key:
            raise RtspError(459, "one session is of one rendition")
        local = self._udp if session is None or not session.tracks or session.over_udp else None
        transport = choose_transport(request.headers.get("transport", ""), self.peer, udp=local is not None)
        entry = await self._open(target)
        track = target.track or next(iter(entry.feed.tracks))
        if track not in entry.feed.tracks:
            raise RtspError(404, f"{entry.feed.name} has no {track}")
        if session is None:
            session = Session(entry.feed, self, self.peer, self._udp, self._counters, self._feed_ended)
            session.heard = self._hear
            self._session = session
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
        log.info("%s pulls %s over %s", self.peer, session.feed.name, "UDP" if session.over_udp else "TCP")
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

    # -- what they need ----------------------------------------------------------------------------------------

    def _session_of(self, request: Request) -> Session:
        given = request.headers.get("session", "").partition(";")[0].strip()
        if self._session is None or given != self._session.id:
            raise RtspError(454, "no such session in this connection")
        return self._session

    async def _open(self, target: Target) -> OpenFeed:
        """The feed of the target, when its tracks are known."""
        key = (target.stream, target.rendition)
        if self._entry is None or self._key != key or self._entry.feed.ended_because:
            if self._session is not None:
                raise RtspError(459, "one session is of one rendition")
            self._release()
            self._entry, self._key = await self._feeds.acquire(*key), key
        feed = self._entry.feed
        if not await feed.described(self._feeds.expected(*key), OPEN_SECONDS):
            raise RtspError(503, feed.ended_because or f"no packets of {feed.name} within {OPEN_SECONDS:g} s")
        return self._entry

    def _reply(self, request: Request, headers: Headers, body: str = "") -> None:
        self.write(response(200, request.cseq, {"Server": self._server, **headers}, body))

    def _refuse(self, error: RtspError, cseq: str) -> None:
        self._counters.refused[error.status] += 1
        if error.status != 401 and self._refusals < _MAX_TOLD_REFUSALS:  # every player asks without a password first
            self._refusals += 1
            log.info("%s: refused with %d: %s", self.peer, error.status, error.text)
        headers = {"Server": self._server, **error.headers, "Content-Type": "text/plain"}
        self.write(response(error.status, cseq, headers, error.text + "\n"))

    def _hear(self) -> None:
        self._heard_s = time.monotonic()

    def _feed_ended(self, reason: str) -> None:
        # Players take the end of the connection for the end of the stream, and ask again.
        self.close(reason)

    def _end_session(self) -> None:
        if self._session is not None:
            if self._session.playing:
                log.info("%s no longer pulls %s: %s", self.peer, self._session.feed.name, self.closed_because)
            self._session.close()
            self._session = None

    def _release(self) -> None:
        if self._entry is not None:
            self._feeds.release(self._entry)
            self._entry = None

    def _let_go(self) -> None:
        self._end_session()
        self._release()

    async def _say_farewell(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._writer.wait_closed()
        except (OSError, TimeoutError, asyncio.CancelledError):  # it is gone, does not read, or the server closes it
            self._wire.abort()
