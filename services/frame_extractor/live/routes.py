"""The picture of a moment over HTTP: `GET /frame?stream=cam0&at=-3s&width=640&format=jpg`."""

from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from schemas.errors import BadRequest, InvalidValue, MeshError, TooMany
from schemas.moments import TakenPicture, TakePicture
from schemas.still_format import MEDIA_TYPES
from services.frame_extractor.las.admission import Admission
from shared.door.connections import while_connected
from shared.door.sending import PiecewiseResponse

_GONE: Final = 499  # as proxies write it down: nobody gets this answer
_FORBIDDEN: Final = 403
_OF_PICTURE: Final = ("width", "height", "short_side", "quality", "format")
_OF_MOMENT: Final = {"stream": "stream", "at": "at", "within": "within", "wait": "wait_s"}


class Moments(Protocol):
    """Where pictures come from."""

    async def take(self, request: TakePicture) -> TakenPicture: ...


class FrameRoutes:
    """For who has a key that may look at live streams; keys of jobs are not enough."""

    def __init__(self, moments: Moments, admission: Admission, viewers: tuple[str, ...]) -> None:
        """`viewers`: names of keys that may look."""
        self._moments, self._admission, self._viewers = moments, admission, viewers

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/frame", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        owner = self._admission.owner(request)
        if self._admission.keys is not None and owner not in self._viewers:
            return _refused(_FORBIDDEN, f"the key of {owner} may not look at live streams; see live_keys")
        try:
            # Who has gone waits for nothing any more, and takes none of the places of its key.
            with self._admission.one(owner):
                async with while_connected(request):
                    picture = await self._moments.take(_asked(request))
        except MeshError as error:  # in the words of the mesh: the API's codes are of jobs
            headers = {"Retry-After": "1"} if isinstance(error, TooMany) else {}
            return _refused(error.code, error.message, headers)
        except ConnectionResetError:
            return web.Response(status=_GONE)
        headers = {
            "Cache-Control": "no-store",
            "X-Framemesh-Sequence": str(picture.sequence),
            "X-Framemesh-Captured-Ns": str(picture.captured_ns),
            "X-Framemesh-Off-Ns": str(picture.off_ns),
            "X-Framemesh-Origin": picture.origin,
        }
        return PiecewiseResponse(picture.data, MEDIA_TYPES[picture.format], headers)


def _refused(code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=code, headers=headers)


def _asked(request: web.Request) -> TakePicture:
    """Raises: BadRequest: names the parameter."""
    query = request.query
    known = (*_OF_MOMENT, *_OF_PICTURE)
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidValue(unknown[0][:40], query[unknown[0]][:40], f"there are: {', '.join(known)}")
    twice = [name for name in known if len(query.getall(name, [])) > 1]
    if twice:
        raise InvalidValue(twice[0], query[twice[0]][:40], "give it once")
    # A plus sign in a query is a space to whoever decodes it: +2s, and the zone +02:00.
    given: dict[str, Any] = {
        field: query[name].replace(" ", "+") for name, field in _OF_MOMENT.items() if name in query
    }
    given["pictures"] = {name: query[name] for name in _OF_PICTURE if name in query}
    try:
        return msgspec.convert(given, TakePicture, strict=False)
    except msgspec.ValidationError as error:
        text, _, field = str(error).partition(" - at `$.")
        raise BadRequest(f"{field.rstrip('`').removeprefix('pictures.') or 'query'}: {text}") from None
