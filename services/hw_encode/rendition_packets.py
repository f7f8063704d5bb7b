"""From what an encoder gives back to the packets of a rendition: each with the identity of its picture."""

import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

from schemas.errors import MeshError
from schemas.frames import FrameRef
from schemas.resources import RenditionSpec
from schemas.units import NS_PER_SECOND
from services.hw_encode.libav_codec import TIME_BASE, Encoded
from shared.media.configuration import configuration
from shared.packets import PacketPublisher

log = logging.getLogger(__name__)

_DTS_STEP_NS = 1_000_000  # the tick of FLV, the coarsest clock; with 7 B-frames less than a picture at 120/s


class Inside(NamedTuple):
    """A picture in the encoder, and what its packet says of it."""

    ref: FrameRef
    width: int
    height: int
    duration_ns: int
    reordered: bool


class RenditionPackets:
    """Knows which pictures are inside the encoder, and publishes what comes out. Belongs to the encoder's thread."""

    def __init__(
        self, spec: RenditionSpec, publisher: PacketPublisher, on_packet: Callable[[FrameRef, bool], None]
    ) -> None:
        """`on_packet` is called with the picture of each packet and whether it is a key picture."""
        self._codec, self._stream = spec.codec, spec.stream
        self._publisher = publisher
        self._on_packet = on_packet
        self._inside: dict[int, Inside] = {}
        """By its time there."""
        self._last_dts_ns = -1
        self._extradata = b""

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def newest(self) -> Inside | None:
        """The picture that was given to the encoder last, while that has any."""
        return next(reversed(self._inside.values()), None)

    def enter(self, pts: int, inside: Inside) -> None:
        """A picture is about to be encoded at this time of `TIME_BASE`."""
        self._inside[pts] = inside

    def leave(self, pts: int) -> None:
        """The encoder has failed at it: it is given to the next one."""
        self._inside.pop(pts, None)

    def forget(self) -> int:
        """Another encoder begins; returns how many pictures were lost inside the one before."""
        lost = len(self._inside)
        self._inside.clear()
        return lost

    def publish(self, packets: list[Encoded]) -> None:
        """Publish them, in the order they came."""
        for packet in packets:
            self._publish(packet)

    def _publish(self, packet: Encoded) -> None:
        inside = self._inside.pop(packet.pts, None) if packet.pts is not None else None
        if inside is None or packet.pts is None:
            log.warning("packet without a picture", extra={"stream": self._stream})
            return
        dts = packet.pts if packet.dts is None else packet.dts
        for skipped in [pts for pts in self._inside if pts < dts]:
            del self._inside[skipped]  # what is decoded later is shown later: the encoder has left that picture out
        ref = inside.ref
        payload, key = packet.payload, packet.key
        if key:
            with contextlib.suppress(MeshError):  # an encoder without in-band headers keeps what it had
                self._extradata = configuration(payload, self._codec) or self._extradata
        self._publisher.publish(
            payload,
            track="video",
            codec=self._codec,
            epoch=ref.epoch,
            sequence=ref.sequence,
            key=key,
            pts_ns=ref.pts_ns,
            dts_ns=self._decoding_time_ns(ref.pts_ns, (packet.pts - dts) * NS_PER_SECOND // TIME_BASE.denominator),
            duration_ns=inside.duration_ns,
            captured_ns=ref.captured_ns,
            width=inside.width,
            height=inside.height,
            reordered=inside.reordered,
            extradata=self._extradata if key else b"",
        )
        self._on_packet(ref, key)

    def _decoding_time_ns(self, pts_ns: int, ahead_ns: int) -> int:
        dts_ns = pts_ns - ahead_ns
        # The first packets of an encoder that reorders fall among the last of one that did not.
        if dts_ns <= self._last_dts_ns < pts_ns:
            dts_ns = min(self._last_dts_ns + _DTS_STEP_NS, pts_ns)
        self._last_dts_ns = dts_ns
        return dts_ns
