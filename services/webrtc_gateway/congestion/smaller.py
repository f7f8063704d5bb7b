"""The smaller rendition of a stream: made on demand, one for all viewers whose lines are thin."""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from schemas.commands import RenditionChanged, StartRendition
from schemas.encoding import BITRATE_RANGE
from schemas.errors import Unavailable
from schemas.ids import compound_id
from schemas.packets import VideoCodec
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import DEFAULT_RENDITION, command
from schemas.units import parse_bitrate, parse_size
from shared.bus import Bus
from shared.desired import Desired
from shared.state import StateMirrors

_OWNER = "hw-encode"
_SEEN_SECONDS = 3.0  # until our copy of the state has what the owner has answered with
_MIN_EDGE_PIXELS = 64  # below that nothing can be seen, and some encoders refuse
_EVEN = 2  # 4:2:0 has a colour for every two by two pixels


class Smaller(Protocol):
    """Says which rendition of a stream thinner lines get."""

    async def ensure(self, stream: str, codec: VideoCodec | None) -> str:
        """Its name; it exists. `codec` is what the viewer takes; None: it has no pictures.

        Raises:
            MeshError: it cannot be made.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shares:
    """What the smaller rendition is of `main`."""

    rendition: str = "low"
    edge: float = 0.5
    """Of width and height."""
    bitrate: float = 0.25


class BusSmaller:
    """Asks hw-encode for it; see `Smaller`."""

    def __init__(self, bus: Bus, mirrors: StateMirrors, shares: Shares) -> None:
        self._bus, self._mirrors, self._shares = bus, mirrors, shares
        self._streams = Desired("capture", StreamSpec, StreamActual, mirrors)
        self._renditions = Desired(_OWNER, RenditionSpec, RenditionActual, mirrors)

    async def ensure(self, stream: str, codec: VideoCodec | None) -> str:
        """A smaller size that the publisher itself sends, else one that is encoded.

        Raises:
        Unavailable: the size of the stream's pictures is not known, or hw-encode does not answer.
        """
        if (layer := self._layer(stream, codec)) is not None:
            return layer
        name = self._shares.rendition
        resource = compound_id(stream, name)
        if self._renditions.spec(resource) is None:  # somebody's own of that name is as good, or meant to be
            await self._bus.request(command(_OWNER, "start"), self._request(stream), RenditionChanged)

        def known(_: object) -> bool:
            return self._renditions.actual(resource) is not None

        if not known(None) and not await self._mirrors.actual.wait_for(known, _SEEN_SECONDS):
            raise Unavailable(f"{stream}/{name} does not start; `framemesh status` tells why")
        return name

    def _layer(self, stream: str, codec: VideoCodec | None) -> str | None:
        """The largest that comes and is smaller than `source`; None: the publisher sends none, or in another codec."""
        actual = self._streams.actual(stream)
        if actual is None or actual.video is None or actual.video.codec != codec:
            return None
        pixels = actual.video.width * actual.video.height
        smaller = [layer for layer in actual.layers if layer.active and 0 < layer.width * layer.height < pixels]
        return max(smaller, key=lambda layer: layer.width * layer.height).rendition if smaller else None

    def _request(self, stream: str) -> StartRendition:
        found = self._renditions.spec(compound_id(stream, DEFAULT_RENDITION))
        main = found[0] if found else RenditionSpec(stream=stream)
        actual = self._streams.actual(stream)
        if main.size is not None:
            width, height = parse_size(main.size)
        elif actual is not None and actual.video is not None:
            width, height = actual.video.width, actual.video.height
        else:
            raise Unavailable(f"the size of {stream}'s pictures is not known yet; try again in a moment")
        bitrate = max(BITRATE_RANGE[0], int(parse_bitrate(main.bitrate) * self._shares.bitrate))
        spec = msgspec.structs.replace(
            RenditionSpec(stream=stream, rendition=self._shares.rendition),
            codec=main.codec,
            size=f"{self._edge(width)}x{self._edge(height)}",
            bitrate=str(bitrate),
            key_interval=main.key_interval,
            fps=main.fps,
            encoder=main.encoder,
            preset=main.preset,
            audio_bitrate=main.audio_bitrate,
        )
        return StartRendition(**msgspec.structs.asdict(spec))

    def _edge(self, pixels: int) -> int:
        return max(_MIN_EDGE_PIXELS, round(pixels * self._shares.edge / _EVEN) * _EVEN)
