"""mix://?fps=30&sample_rate=48000&channels=2 : pictures and sound that the process of a mix writes.

Written by cloud-mix-proxy with each mix. The ring tells of the pictures; of the sound only its address does.
"""

from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta

from schemas.errors import InvalidValue
from schemas.pictures import Fps
from schemas.resources import AudioInfo, StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sources.application import ApplicationSource
from shared.urls import redact


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fps: Fps = 30.0
    sample_rate: Annotated[int, Meta(ge=8_000, le=192_000)] = 48_000
    channels: Literal[0, 1, 2] = 2
    """0: no sound."""


class MixSource(ApplicationSource):
    """Live while the mix's process has a ring for the stream."""

    waits_for = "the mix"

    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        query = _parse(spec)
        self.fps = spec.fps or query.fps
        if query.channels and spec.audio:
            self.sound = AudioInfo(codec="pcm", sample_rate=query.sample_rate, channels=query.channels)

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: an option that there is not, or what is done to pictures that capture does not see.
        """
        super().check(spec)
        _parse(spec)


def _parse(spec: StreamSpec) -> _Query:
    try:
        return msgspec.convert(dict(parse_qsl(urlsplit(spec.source).query)), _Query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValue("source", redact(spec.source)[0], str(error)) from None
