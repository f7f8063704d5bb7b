"""Giving a running stream a profile: judged against the camera first, and taken back where the camera refuses it."""

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import msgspec

from schemas.capture_commands import ConfigureStream
from schemas.commands import StreamChanged
from schemas.errors import Conflict, InvalidValue, NotFound, Unavailable, error_from_code
from schemas.pictures import PictureSettings
from schemas.resources import StreamActual, StreamSpec
from schemas.units import parse_crop
from services.capture.device_calls import ask_device
from services.capture.settings import CaptureSettings
from services.capture.sources import DEVICE_SCHEMES, check_source, make_source
from shared.desired import Desired
from shared.secret_store import read_secret
from shared.service import Context

_ATTEMPTS = 3  # somebody else changed the stream meanwhile; whoever gives no revision means whatever is there now
_ROLLBACK_WAIT_SECONDS = 5.0
_REFUSED = 400


class Configurator:
    """Carries out `capture.<stream>.configure`."""

    def __init__(self, context: Context[CaptureSettings], streams: Desired[StreamSpec, StreamActual]) -> None:
        self._context = context
        self._streams = streams
        self._turns: dict[str, asyncio.Lock] = {}

    def forget(self, stream: str) -> None:
        """The stream is gone."""
        self._turns.pop(stream, None)

    async def configure(self, stream: str, request: ConfigureStream) -> StreamChanged:
        """Hold a profile against what the camera can do, and take it on.

        Raises:
            InvalidValue, BadRequest: names the key of the profile; the camera is as it was.
            Conflict: stale revision.
            Unavailable: the camera does not answer, so it cannot be judged.
            NotFound: the stream is gone.
        """
        async with self._turns.setdefault(stream, asyncio.Lock()):  # one after the other: all write the same key
            for _ in range(_ATTEMPTS - 1):
                with contextlib.suppress(Conflict):
                    return await self._once(stream, request)
                if request.revision is not None:
                    break
            return await self._once(stream, request)

    async def _once(self, stream: str, request: ConfigureStream) -> StreamChanged:
        found = await self._streams.read(stream)
        if found is None:
            raise NotFound(f"{stream!r} does not exist; capture.list shows what does")
        spec, revision = found
        if request.revision not in (None, revision):
            raise Conflict(f"{stream} is at revision {revision}, not {request.revision}; read it again and retry")
        before = self._streams.actual(stream)
        # With its credentials: writing the masked URL would lose them.
        url = await read_secret(self._context.bus, spec.source_secret) if spec.source_secret else spec.source
        wanted = with_profile(spec, request.profile)
        check_source(wanted)
        _check_crop(wanted, spec, before)
        if request.validate:
            await self._probe(wanted, url)
        if not request.apply:
            return StreamChanged(code=200, service=self._context.service, id=stream, revision=revision, actual=before)
        changed = await self._streams.apply(
            stream, _to_write(wanted, url), msgspec.structs.replace(request, revision=revision), StreamChanged
        )
        error = changed.actual.error if changed.actual else None
        if error is None or error.code != _REFUSED or (before and error == before.error):
            return changed
        await self._take_back(stream, _to_write(spec, url), changed.revision)
        raise error_from_code(error.code, error.message)

    async def _probe(self, spec: StreamSpec, url: str) -> None:
        """Raises: InvalidValue, BadRequest: the camera cannot do it. Unavailable: it does not answer."""
        source = make_source(spec, url, self._context.settings)
        hint = "give validate false to leave the judgement to the camera"
        try:
            await ask_device(spec.stream, source.probe)
        except (NotFound, Unavailable) as error:
            raise Unavailable(f"{error.message}; {hint}") from None

    async def _take_back(self, stream: str, spec: StreamSpec, revision: int) -> None:
        """Write the spec that was there before, unless somebody has written another meanwhile."""
        try:
            written = await self._streams.put(stream, spec, revision)
        except Conflict:
            return
        await self._streams.wait_settled(stream, written, _ROLLBACK_WAIT_SECONDS)


def with_profile(spec: StreamSpec, profile: PictureSettings) -> StreamSpec:
    """The spec with all picture settings of the profile, also those that have their default there."""
    settings: dict[str, Any] = {name: getattr(profile, name) for name in PictureSettings.__struct_fields__}
    return msgspec.structs.replace(spec, **settings)


def _to_write(spec: StreamSpec, url: str) -> StreamSpec:
    return msgspec.structs.replace(spec, source=url, source_secret="")


def _check_crop(wanted: StreamSpec, running: StreamSpec, actual: StreamActual | None) -> None:
    """Refuse an area outside the source's picture, where that is known and not the device's own business."""
    video = actual.video if actual else None
    if wanted.crop is None or video is None or not video.width:
        return
    if wanted.size != running.size or urlsplit(wanted.source).scheme.lower() in DEVICE_SCHEMES:
        return
    width, height, left, top = parse_crop(wanted.crop)
    if left + width > video.width or top + height > video.height:
        raise InvalidValue("crop", wanted.crop, f"keep it within the source's picture, {video.width}x{video.height}")
