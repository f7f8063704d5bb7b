"""A picture of a stream over HTTP, the newest or of a moment: `GET /frame/<stream>?at=-10s&width=640&format=jpg`."""

from typing import Any

import msgspec
from aiohttp import web

from schemas.capture_commands import Snapshot, SnapshotRequest
from schemas.errors import BadRequest, InternalError, MeshError
from schemas.moments import TakenPicture, TakePicture
from schemas.still_format import MEDIA_TYPES
from schemas.subjects import command
from services.webrtc_gateway.auth.denials import require
from services.webrtc_gateway.auth.grant import grant_of
from services.webrtc_gateway.commands.routes import REPLY_MARGIN_SECONDS, Asker, InFlight
from services.webrtc_gateway.signalling.whep import refused
from shared.door.sending import PiecewiseResponse

MAX_PICTURES_IN_FLIGHT = 16  # each is up to 8 MiB, and work for the stream's capture
_FIELDS = {"width": "max_width", "quality": "quality", "format": "format", "wait": "wait_s"}
_OF_PICTURE = ("width", "height", "quality", "format")
_OF_MOMENT = {"at": "at", "within": "within", "wait": "wait_s"}


class PictureRoutes:
    """What an `<img>`, a home automation or a script takes; decoding is begun for it when nobody looks."""

    def __init__(self, bus: Asker, in_flight: InFlight | None = None) -> None:
        self._bus = bus
        self._in_flight = in_flight or InFlight(MAX_PICTURES_IN_FLIGHT)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/frame/{stream}", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        try:
            stream = request.match_info["stream"]
            require(grant_of(request), "view", stream)
            with self._in_flight.one():
                if "at" in request.query:
                    return await self._of_moment(stream, request)
                asked = _asked(request)
                subject = command("capture", "snapshot", stream)
                reply = await self._bus.request_raw(
                    subject, msgspec.json.encode(asked), asked.wait_s + REPLY_MARGIN_SECONDS
                )
            picture = msgspec.json.decode(reply, type=Snapshot)
        except msgspec.DecodeError:
            return refused(InternalError("the picture that came is unreadable; see the log of who made it"))
        except MeshError as error:
            return refused(error)
        headers = {
            "Cache-Control": "no-store",
            "X-Framemesh-Sequence": str(picture.sequence),
            "X-Framemesh-Captured-Ns": str(picture.captured_ns),
        }
        return PiecewiseResponse(picture.data, MEDIA_TYPES[picture.format], headers)

    async def _of_moment(self, stream: str, request: web.Request) -> web.StreamResponse:
        """Raises: MeshError: the extractor's own, or that none answers."""
        asked = _asked_moment(stream, request)
        subject = command("frame-extractor", "picture")
        reply = await self._bus.request_raw(subject, msgspec.json.encode(asked), asked.wait_s + REPLY_MARGIN_SECONDS)
        picture = msgspec.json.decode(reply, type=TakenPicture)
        headers = {
            "Cache-Control": "no-store",
            "X-Framemesh-Sequence": str(picture.sequence),
            "X-Framemesh-Captured-Ns": str(picture.captured_ns),
            "X-Framemesh-Off-Ns": str(picture.off_ns),
            "X-Framemesh-Origin": picture.origin,
        }
        return PiecewiseResponse(picture.data, MEDIA_TYPES[picture.format], headers)


def _asked_moment(stream: str, request: web.Request) -> TakePicture:
    """Raises: BadRequest: names the parameter."""
    query = request.query
    known = (*_OF_PICTURE, *_OF_MOMENT)
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise BadRequest(f"no parameter {unknown[0][:40]!r}; there are: {', '.join(known)}")
    # A plus sign in a query is a space to whoever decodes it: +2s, and the zone +02:00.
    given: dict[str, Any] = {
        field: query[name].replace(" ", "+") for name, field in _OF_MOMENT.items() if name in query
    }
    given["pictures"] = {name: query[name] for name in _OF_PICTURE if name in query}
    try:
        return msgspec.convert({"stream": stream, **given}, TakePicture, strict=False)
    except msgspec.ValidationError as error:
        text, _, field = str(error).partition(" - at `$.")
        named = {field: name for name, field in _OF_MOMENT.items()}
        field = field.rstrip("`").removeprefix("pictures.")
        raise BadRequest(f"{named.get(field, field) or 'query'}: {text}") from None


def _asked(request: web.Request) -> SnapshotRequest:
    """Raises: BadRequest: names the parameter."""
    unknown = sorted(set(request.query) - set(_FIELDS))
    if unknown:
        raise BadRequest(f"no parameter {unknown[0][:40]!r}; there are: {', '.join(_FIELDS)}")
    given = {field: request.query[name] for name, field in _FIELDS.items() if name in request.query}
    try:
        return msgspec.convert(given, SnapshotRequest, strict=False)
    except msgspec.ValidationError as error:
        text, _, field = str(error).partition(" - at `$.")
        named = {field: name for name, field in _FIELDS.items()}
        raise BadRequest(f"{named.get(field.rstrip('`'), 'query')}: {text}") from None
