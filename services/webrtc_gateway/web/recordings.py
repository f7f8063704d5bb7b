"""Recorded files over HTTP: `GET /recordings/<stream>/<node>/<file>`, whole or in ranges (RFC 9110 section 14).

The file comes in parts over the bus from the publisher that has it, so from any node; the publisher judges its name and
whose it is. A browser's player seeks with ranges, and with `If-Range` it never puts two states of a file together.
"""

import asyncio
import logging
from email.utils import formatdate
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

import msgspec
from aiohttp import web

from schemas.errors import InternalError, MeshError, Unavailable
from schemas.recordings import FetchFile, FilePart
from schemas.subjects import command
from services.webrtc_gateway.auth.denials import require
from services.webrtc_gateway.auth.grant import grant_of
from services.webrtc_gateway.commands.routes import Asker, InFlight
from services.webrtc_gateway.signalling.whep import refused
from shared.door.ranges import Span, span_of

logger = logging.getLogger(__name__)

MAX_TRANSFERS: Final = 32  # each has one part in memory, and the disk and the bus work for it
# To read one as JSON takes a tenth of a picture's time at 60 Hz, and viewers' packets wait for no more.
_PART_BYTES: Final = 256 * 1024
_PART_SECONDS: Final = 10.0  # a disk that has to wake up takes some
# A player that is paused takes nothing. It asks again from where it is, and its connection holds nobody's place.
_STALLED_SECONDS: Final = 30.0
_TYPES: Final = {"mp4": "video/mp4", "mkv": "video/x-matroska", "ts": "video/mp2t"}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "OPTIONS, GET, HEAD",
    "Access-Control-Allow-Headers": "Authorization, If-None-Match, If-Range, Range",
    "Access-Control-Max-Age": "86400",
}


class RecordingRoutes:
    """What a `<video>`, a download or a script takes."""

    def __init__(self, bus: Asker, in_flight: InFlight | None = None) -> None:
        self._bus = bus
        self._in_flight = in_flight or InFlight(MAX_TRANSFERS)

    def add_to(self, app: web.Application) -> None:
        path = "/recordings/{stream}/{node}/{file:.+}"
        app.router.add_get(path, self._get)
        app.router.add_options(path, self._preflight)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        stream, node, file = (request.match_info[name] for name in ("stream", "node", "file"))
        try:
            require(grant_of(request), "view", stream)
            subject = command("publisher", "fetch", node)
            with self._in_flight.one():
                wanted = FetchFile(file=file, stream=stream, size=1)
                about = await self._fetch(subject, wanted)
                return await self._answer(request, subject, wanted, about)
        except msgspec.ValidationError as error:
            return refused(InternalError(f"recording {file[:80]!r}: {error}"))
        except MeshError as error:
            return refused(error)

    async def _answer(
        self, request: web.Request, subject: str, wanted: FetchFile, about: FilePart
    ) -> web.StreamResponse:
        tag = f'"{about.modified_ns:x}-{about.size_bytes:x}"'
        headers = {
            "ETag": tag,
            "Last-Modified": formatdate(about.modified_ns / 1e9, usegmt=True),
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",  # for one viewer's eyes, and asked for anew: it may grow
            "Content-Disposition": _disposition(wanted.file),
        }
        if tag in [known.strip() for known in request.headers.get("If-None-Match", "").split(",")]:
            return web.Response(status=304, headers=headers)
        span = Span(0, about.size_bytes)
        status = 200
        if request.headers.get("If-Range", tag) == tag:
            found = span_of(request.headers.get("Range", ""), about.size_bytes)
            if found is not None:
                if found.start >= found.end:
                    return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{about.size_bytes}"})
                span, status = found, 206
                headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{about.size_bytes}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = _TYPES.get(about.format, "application/octet-stream")
        response.content_length = span.end - span.start
        await response.prepare(request)
        if request.method != "HEAD":
            await self._send(request, response, subject, wanted, span)
        return response

    async def _send(
        self, request: web.Request, response: web.StreamResponse, subject: str, wanted: FetchFile, span: Span
    ) -> None:
        """The bytes; whoever does not take them, or whose file is cut meanwhile, is cut off: half is not the whole."""
        offset = span.start
        why = ""
        try:
            while offset < span.end:
                size = min(_PART_BYTES, span.end - offset)
                part = await self._fetch(subject, msgspec.structs.replace(wanted, offset=offset, size=size))
                if not part.data:
                    raise Unavailable("the file was cut meanwhile")
                async with asyncio.timeout(_STALLED_SECONDS):
                    await response.write(part.data[: span.end - offset])
                offset += len(part.data)
            await response.write_eof()
        except TimeoutError:
            why = f"nothing was taken for {_STALLED_SECONDS:.0f} s"
        except ConnectionError as error:  # whoever asked has gone; or the file has
            why = str(error)
        except MeshError as error:
            why = error.message
        if why:
            logger.info("recording %s ends at %d of %d bytes: %s", wanted.file, offset, span.end, why)
            if request.transport is not None:
                request.transport.abort()

    async def _fetch(self, subject: str, wanted: FetchFile) -> FilePart:
        """Raises: MeshError: the publisher's own, or that none answers."""
        try:
            reply = await self._bus.request_raw(subject, msgspec.json.encode(wanted), _PART_SECONDS)
            return msgspec.json.decode(reply, type=FilePart)
        except msgspec.DecodeError:
            raise InternalError("the part that came is unreadable; see the log of publisher") from None

    async def _preflight(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=_PREFLIGHT)


def _disposition(file: str) -> str:
    """Played in a page, and saved under its own name."""
    return f"inline; filename*=UTF-8''{quote(PurePosixPath(file).name, safe='')}"
