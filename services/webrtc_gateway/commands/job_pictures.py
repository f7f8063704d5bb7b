"""Pictures of jobs over HTTP, for the console: `GET /pictures/<job>/<index>?max_width=320`."""

from typing import Any

import msgspec
from aiohttp import web

from schemas.errors import BadRequest, InternalError, MeshError
from schemas.extraction import FetchJobPicture, JobPicture
from schemas.still_format import MEDIA_TYPES
from schemas.subjects import command
from services.webrtc_gateway.commands.routes import Asker, InFlight
from services.webrtc_gateway.signalling.whep import refused
from shared.door.sending import PiecewiseResponse

MAX_JOB_PICTURES_IN_FLIGHT = 16  # each is up to 8 MiB; a browser asks for six at a time
_REPLY_SECONDS = 20.0  # of a store across a country, behind others
_KEPT_SECONDS = 300  # by the browser: pages are left and come back to, and another job may write to the same place
_PARAMETERS = ("max_width",)


class JobPictureRoutes:
    """The guard has asked for the right to view everything: jobs are of no stream."""

    def __init__(self, bus: Asker, in_flight: InFlight | None = None) -> None:
        self._bus = bus
        self._in_flight = in_flight or InFlight(MAX_JOB_PICTURES_IN_FLIGHT)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/pictures/{job}/{index}", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = _asked(request)
            with self._in_flight.one():
                subject = command("frame-extractor", "fetch")
                reply = await self._bus.request_raw(subject, msgspec.json.encode(asked), _REPLY_SECONDS)
            picture = msgspec.json.decode(reply, type=JobPicture)
        except msgspec.DecodeError:
            return refused(InternalError("the picture that came is unreadable; see the log of frame-extractor"))
        except MeshError as error:
            return refused(error)
        headers = {"Cache-Control": f"private, max-age={_KEPT_SECONDS}"}
        return PiecewiseResponse(picture.data, MEDIA_TYPES[picture.format], headers)


def _asked(request: web.Request) -> FetchJobPicture:
    """Raises: BadRequest: names the parameter."""
    unknown = sorted(set(request.query) - set(_PARAMETERS))
    if unknown:
        raise BadRequest(f"no parameter {unknown[0][:40]!r}; there are: {', '.join(_PARAMETERS)}")
    given: dict[str, Any] = {**request.match_info, **request.query}
    try:
        return msgspec.convert(given, FetchJobPicture, strict=False)
    except msgspec.ValidationError as error:
        text, _, field = str(error).partition(" - at `$.")
        raise BadRequest(f"{field.rstrip('`') or 'query'}: {text}") from None
