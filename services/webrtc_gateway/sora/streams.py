"""What the mesh has of a channel's name, and when what a connection publishes can be watched."""

from schemas.ids import compound_id
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import state_key
from services.webrtc_gateway.ingest.streams import SCHEME
from services.webrtc_gateway.sora.sections import Kind
from services.webrtc_gateway.sora.wishes import RIDS, Rid
from shared.bus import Entry
from shared.desired import Desired
from shared.state import StateMirrors, read_entry

_SERVICE = "capture"
_PUBLISHED = f"{SCHEME}:"
LIVE_SECONDS = 10.0  # a publisher's first key picture needs its DTLS, and half a second more


class ChannelStreams:
    """Reads this process' copy of the mesh's state."""

    def __init__(self, mirrors: StateMirrors) -> None:
        self._mirrors = mirrors
        self._streams = Desired(_SERVICE, StreamSpec, StreamActual, mirrors)
        self._renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)

    def exists(self, stream: str) -> bool:
        return self._streams.spec(stream) is not None or self._streams.actual(stream) is not None

    def is_free(self, stream: str) -> bool:
        """Whether a publisher may fill it: it is not there, or waits for one."""
        spec, actual = self._streams.spec(stream), self._streams.actual(stream)
        if spec is None:
            return actual is None
        return spec[0].source.startswith(_PUBLISHED) and (actual is None or bool(actual.waiting_for))

    def kinds(self, stream: str) -> tuple[Kind, ...]:
        """What can be watched of it now; empty: nothing."""
        actual, spec = self._streams.actual(stream), self._streams.spec(stream)
        if actual is None:
            return ()
        if (
            spec is not None
            and spec[0].source.startswith(_PUBLISHED)
            and (actual.waiting_for or not actual.source_tracks)
        ):
            return ()
        # Whether a source has sound is not known before it is open, and not while it is away.
        return ("audio", "video") if actual.audio or actual.video is None else ("video",)

    def layers(self, stream: str) -> tuple[Rid, ...]:
        """Sizes that it can be had in besides its own: what its publisher sends, or renditions of these names."""
        actual = self._streams.actual(stream)
        if actual is not None and actual.layers:
            active = {layer.rendition for layer in actual.layers if layer.active}
            return tuple(rid for rid in RIDS if rid in active)
        return tuple(rid for rid in RIDS if self._renditions.spec(compound_id(stream, rid)) is not None)

    async def wait_live(self, stream: str) -> bool:
        """Until the stream's own packets can be watched; False: not in LIVE_SECONDS."""
        key = state_key(_SERVICE, stream)

        def live(entries: dict[str, Entry]) -> bool:
            actual = read_entry(entries.get(key), StreamActual)
            return actual is not None and bool(actual.source_tracks) and not actual.waiting_for

        return await self._mirrors.actual.wait_for(live, LIVE_SECONDS)
