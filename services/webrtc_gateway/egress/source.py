"""What the egress engine needs from the bus side: packets of a rendition, and the state of the mesh."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from schemas.commands import MeshStatus
from schemas.errors import Conflict
from schemas.packets import PacketHeader, VideoCodec

Deliver = Callable[[PacketHeader, memoryview], None]


class Subscription(Protocol):
    """Packets of one rendition, flowing to the `deliver` callback it was opened with until `close`."""

    @property
    def rendition(self) -> str:
        """The rendition's name, resolved when `open` was given None."""
        ...

    @property
    def tracks(self) -> Sequence[str]:
        """`video`, `opus`, `aac` as far as known when opened; empty when nothing is known yet."""
        ...

    @property
    def forces_key_frames(self) -> bool:
        """The producer makes a key frame when asked (an encoder does, a camera may not).

        True: a viewer starts on a fresh key frame. False: it starts from the current group of pictures.
        """
        ...

    def request_key_frame(self) -> None:
        """Ask the producer for a key frame; returns at once. The engine already limits how often it asks."""
        ...

    async def cached(self) -> Sequence[tuple[PacketHeader, memoryview]]:
        """The current group of pictures, oldest first, starting on a key packet; may be empty.

        Packets are delivered meanwhile; what was delivered may be in it too.
        """
        ...

    def on_ended(self, ended: Callable[[str], None]) -> None:
        """Call `ended(reason)`, once, when nothing more will come although nobody closed this: `removed`."""
        ...

    async def close(self) -> None:
        """Deliver nothing more."""
        ...


class PacketSource(Protocol):
    """Opens renditions by name."""

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> Subscription:
        """Start delivering whole access units, in order per track, on the event loop's thread.

        `rendition` None means the stream's default. Message parts are put together before delivery.

        Raises:
            NotFound: no such stream or rendition.
            Conflict: the rendition cannot be viewed as it is.
            Unavailable: the bus or the owner does not answer.
        """
        ...

    def video_codec(self, stream: str, rendition: str | None) -> VideoCodec | None:
        """The codec of the rendition's pictures as far as it is known without opening it."""
        ...


class StatusFeed(Protocol):
    """The state of the mesh for the console."""

    def current(self) -> MeshStatus: ...

    def subscribe(self) -> AsyncIterator[bytes]:
        """JSON texts ready to send: first the whole state, then what changes. Bounded by its maker."""
        ...


class NotViewable(Conflict):
    """A rendition that this viewer, or any, cannot take; `why` is the half-sentence that says so."""

    def __init__(self, stream: str, rendition: str, why: str) -> None:
        self.rendition, self.why = rendition, why
        super().__init__(
            f"{stream}/{rendition} cannot be viewed over WebRTC: {why}; "
            "view a rendition without B-frames, in a codec that the viewer takes"
        )


def codec_why(codec: str) -> str:
    """Why viewers, or one of them, cannot take pictures of `codec`."""
    return f"its codec is {codec}"


ASSUMED_CODEC: VideoCodec = "h264"  # of a rendition whose codec nobody knows yet: what cameras send
REORDERED_WHY = "it has B-frames"  # WebRTC shows pictures in the order in which they come
