"""Renditions as viewers can hear them: where a rendition has AAC and no Opus, Opus is made of it here."""

from collections import Counter
from collections.abc import Callable, Sequence

from schemas.packets import PacketHeader, VideoCodec
from services.webrtc_gateway.codecs.opus_from_aac import OpusFromAac
from services.webrtc_gateway.egress.source import Deliver, PacketSource, Subscription


class AudibleSource:
    """A `source.PacketSource` whose renditions with sound have Opus; for all viewers of one it is made once."""

    def __init__(self, source: PacketSource, drops: Counter[str]) -> None:
        self._source, self._drops = source, drops

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> Subscription:
        """Raises what the source raises."""
        opened = _Audible(deliver)
        subscription = await self._source.open(stream, rendition, opened.take)
        if "aac" not in subscription.tracks or "opus" in subscription.tracks:
            return subscription
        opened.begin(subscription, OpusFromAac(deliver, self._drops))
        return opened

    def video_codec(self, stream: str, rendition: str | None) -> VideoCodec | None:
        return self._source.video_codec(stream, rendition)


class _Audible:
    """See `source.Subscription`."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._subscription: Subscription | None = None
        self._sound: OpusFromAac | None = None

    def begin(self, subscription: Subscription, sound: OpusFromAac) -> None:
        self._subscription, self._sound = subscription, sound

    def take(self, header: PacketHeader, payload: memoryview) -> None:
        if header.track == "aac" and self._sound is not None:
            self._sound.feed(header, payload)
        else:
            self._deliver(header, payload)

    @property
    def rendition(self) -> str:
        return self._opened.rendition

    @property
    def tracks(self) -> Sequence[str]:
        return (*self._opened.tracks, "opus")

    @property
    def forces_key_frames(self) -> bool:
        return self._opened.forces_key_frames

    def request_key_frame(self) -> None:
        self._opened.request_key_frame()

    async def cached(self) -> Sequence[tuple[PacketHeader, memoryview]]:
        return await self._opened.cached()

    def on_ended(self, ended: Callable[[str], None]) -> None:
        self._opened.on_ended(ended)

    async def close(self) -> None:
        try:
            await self._opened.close()
        finally:  # its thread would wait for packets for ever
            if self._sound is not None:
                await self._sound.close()

    @property
    def _opened(self) -> Subscription:
        if self._subscription is None:
            raise RuntimeError("used before it was opened")
        return self._subscription
