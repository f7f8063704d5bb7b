"""HLS and LL-HLS over HTTP: playlists, headers, segments and parts under `/hls/`; `origins` says to which pages."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound, TooMany, Unavailable
from schemas.subjects import DEFAULT_RENDITION
from services.webrtc_gateway.auth.denials import require
from services.webrtc_gateway.auth.grant import grant_of
from services.webrtc_gateway.hls.packagers import PackagedRendition, Packagers
from services.webrtc_gateway.hls.playlist import multivariant_playlist
from services.webrtc_gateway.hls.window import LiveWindow
from services.webrtc_gateway.signalling.whep import refused
from shared.door.connections import while_connected
from shared.door.sending import PiecewiseResponse

MAX_REQUESTS: Final = 1_024
"""At once; most of them wait for the next part. A player has two or three."""
_PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
_MEDIA_TYPE: Final = "video/mp4"
_PLAYLIST_CACHE: Final = "no-cache"
# A name never means anything else, but what it names may be for one viewer's eyes: only browsers keep it.
_MEDIA_CACHE: Final = "private, max-age=60, immutable"
_NAME = re.compile(r"([sp])(\d{1,15})\.m4s|i(\d{1,15})\.mp4")
_NUMBER = re.compile(r"\d{1,15}")
_BLOCKED_TARGETS: Final = 3  # RFC 8216bis, 6.2.5.2: longer than that nobody waits
_MOST_AHEAD: Final = 2  # segments; further ahead is a player of another playlist
# Chromium's own player asks for playlists by itself, and gives up on one that runs dry before the next segment is
# there; with four to begin with it never did. Pages' players ask again.
_MEDIA_ELEMENTS: Final = frozenset({"video", "audio"})
_FULL_SEGMENTS: Final = 4
_SHOWN_CHARACTERS: Final = 40
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "OPTIONS, GET, HEAD",
    "Access-Control-Allow-Headers": "Authorization, Range",
    "Access-Control-Max-Age": "86400",
}

Answer = Callable[[PackagedRendition], Awaitable[web.StreamResponse]]


class HlsRoutes:
    """`/hls/<stream>/index.m3u8` names the rendition `main`; `/hls/<stream>/<rendition>/index.m3u8` is its playlist."""

    def __init__(self, packagers: Packagers) -> None:
        self._packagers = packagers
        self._requests = 0

    def add_to(self, app: web.Application) -> None:
        for path, answer in (
            ("/hls/{stream}/index.m3u8", self._multivariant),
            ("/hls/{stream}/{rendition}/index.m3u8", self._media),
            ("/hls/{stream}/{rendition}/{name}", self._piece),
        ):
            app.router.add_get(path, answer)
            app.router.add_options(path, self._preflight)
        app.on_shutdown.append(self._wake_all)

    async def _multivariant(self, request: web.Request) -> web.StreamResponse:
        async def answer(entry: PackagedRendition) -> web.StreamResponse:
            return _playlist(multivariant_playlist(entry.window, f"{DEFAULT_RENDITION}/index.m3u8").encode())

        return await self._answered(request, DEFAULT_RENDITION, answer)

    async def _media(self, request: web.Request) -> web.StreamResponse:
        async def answer(entry: PackagedRendition) -> web.StreamResponse:
            await _await_reload(request, entry.window)
            return _playlist(entry.playlist())

        return await self._answered(request, request.match_info["rendition"], answer)

    async def _piece(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        found = _NAME.fullmatch(name)
        if found is None:
            return refused(NotFound(f"no piece has a name like {name[:_SHOWN_CHARACTERS]!r}"))
        kind, number = found[1] or "i", int(found[2] or found[3])

        async def answer(entry: PackagedRendition) -> web.StreamResponse:
            data = await _piece_data(entry, kind, number)
            return PiecewiseResponse(data, _MEDIA_TYPE, {"Cache-Control": _MEDIA_CACHE})

        return await self._answered(request, request.match_info["rendition"], answer)

    async def _answered(self, request: web.Request, rendition: str, answer: Answer) -> web.StreamResponse:
        if self._requests >= MAX_REQUESTS:
            return refused(TooMany(f"{MAX_REQUESTS} requests are being answered; try again in a moment"))
        self._requests += 1
        try:
            stream = request.match_info["stream"]
            require(grant_of(request), "view", stream)
            # Who has gone waits for nothing any more, and takes nobody's place.
            async with while_connected(request):
                entry = await self._packagers.acquire(stream, rendition)
                try:
                    if request.headers.get("Sec-Fetch-Dest") in _MEDIA_ELEMENTS:
                        await _await_full(entry.window)
                    return await answer(entry)
                finally:
                    self._packagers.release(entry)
        except MeshError as error:
            return refused(error)
        finally:
            self._requests -= 1

    async def _preflight(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=_PREFLIGHT)

    async def _wake_all(self, app: web.Application) -> None:
        self._packagers.wake_all()


def _playlist(text: bytes) -> web.Response:
    return web.Response(body=text, content_type=_PLAYLIST_TYPE, headers={"Cache-Control": _PLAYLIST_CACHE})


async def _await_reload(request: web.Request, window: LiveWindow) -> None:
    """Blocking playlist reload (RFC 8216bis, 6.2.5.2): until the playlist has what is asked for.

    Raises:
        BadRequest: the numbers are malformed, or further ahead than a player can know of.
        Unavailable: it did not come in time.
    """
    segment, part = _number(request, "_HLS_msn"), _number(request, "_HLS_part")
    if segment is None:
        if part is not None:
            raise BadRequest("_HLS_part needs _HLS_msn beside it")
        return
    last = window.last
    if last is not None and segment > last.number + _MOST_AHEAD:
        raise BadRequest(f"_HLS_msn {segment}: the last segment is {last.number}; ask for the next one at most")
    await _wait(window, lambda: window.has(segment, part), _BLOCKED_TARGETS * window.target_seconds)


async def _await_full(window: LiveWindow) -> None:
    """Wait for a playlist as long as it usually is, or for as long as that should take."""
    with contextlib.suppress(Unavailable):
        await _wait(window, lambda: len(window.segments) > _FULL_SEGMENTS, _FULL_SEGMENTS * window.target_seconds)


async def _piece_data(entry: PackagedRendition, kind: str, number: int) -> bytes | memoryview:
    """The bytes of a header, a segment or a part; the part that is being made is waited for.

    Raises:
        NotFound: it is gone, or was never told of.
        Unavailable: it did not come in time.
    """
    window = entry.window
    if kind == "p" and number == entry.packager.next_part_number:
        await _wait(window, lambda: window.part(number) is not None, _BLOCKED_TARGETS * window.target_seconds)
    if kind == "i":
        header = window.headers.get(number)
        data: bytes | memoryview | None = header.data if header else None
    elif kind == "s":
        segment = window.segment(number)
        data = segment.data if segment else None
    else:
        part = window.part(number)
        data = part.data if part else None
    if data is None:
        raise NotFound("that piece is no longer there, or never was; load the playlist again")
    return data


async def _wait(window: LiveWindow, come: Callable[[], bool], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not (come() or window.ended):
                await window.changed()
    except TimeoutError:
        raise Unavailable(f"nothing new came within {seconds:.0f} s") from None


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise InvalidValue(name, text, "give a whole number")
    return int(text)
