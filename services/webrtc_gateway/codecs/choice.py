"""Which rendition a viewer gets: the one it asked for, or one that it can take."""

from collections.abc import Sequence

from schemas.encoding import CODEC_RENDITIONS
from schemas.packets import VideoCodec
from schemas.subjects import DEFAULT_RENDITION
from services.webrtc_gateway.egress.feeds import Feeds, OpenFeed
from services.webrtc_gateway.egress.source import ASSUMED_CODEC, NotViewable, PacketSource, codec_why


class RenditionChoice:
    """Opens renditions for viewers; a rendition whose codec is known to be of no use is not opened."""

    def __init__(self, source: PacketSource, feeds: Feeds) -> None:
        self._source, self._feeds = source, feeds

    async def open(
        self, stream: str, rendition: str | None, takes: Sequence[VideoCodec] | None
    ) -> tuple[OpenFeed, NotViewable | None]:
        """The rendition that was asked for, or what is served in its place, and why it has to be that.

        In its place goes `main`, made for viewers, or else a rendition made on demand in a codec that the viewer takes.

        Args:
            takes: the codecs that the viewer can decode; None: it wants no pictures.

        Raises:
            NotViewable: the viewer can take none of them.
            MeshError: what the source says.
        """
        asked = rendition or DEFAULT_RENDITION
        others = (DEFAULT_RENDITION, *(codec for codec in CODEC_RENDITIONS if takes is None or codec in takes))
        first: NotViewable | None = None
        for name in (rendition, *(other for other in others if other != asked)):
            try:
                return await self._open(stream, name, takes), first
            except NotViewable as refused:
                first = first or refused
        assert first is not None  # one was tried at least
        raise first

    def codec(self, stream: str, rendition: str) -> VideoCodec | None:
        """Of a rendition's pictures, as far as it is known without opening it."""
        return self._source.video_codec(stream, rendition)

    async def _open(self, stream: str, rendition: str | None, takes: Sequence[VideoCodec] | None) -> OpenFeed:
        known = self._source.video_codec(stream, rendition)
        if known is not None and takes is not None and known not in takes:
            raise NotViewable(stream, rendition or DEFAULT_RENDITION, codec_why(known))
        entry = await self._feeds.acquire(stream, rendition)
        tracks = entry.subscription.tracks
        codec = entry.feed.codec or known or ASSUMED_CODEC
        why = entry.feed.unsupported
        if not why and takes is not None and codec not in takes and (not tracks or "video" in tracks):
            why = codec_why(codec)
        if why:
            self._feeds.release(entry)
            raise NotViewable(stream, entry.subscription.rendition, why)
        entry.feed.promise(codec)
        return entry
