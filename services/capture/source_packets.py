"""The source's own packets as renditions of the stream: `source`, and the layers of a publisher."""

from typing import Any

from schemas.resources import StreamSpec
from schemas.subjects import SOURCE_RENDITION
from services.capture.continuity import Continuity
from services.capture.layer_packets import LayerPackets
from services.capture.settings import CaptureSettings
from shared.bus import Bus
from shared.packets import PacketPublisher


class SourcePackets:
    """Used by one source thread; `set_demand` and `keep` are the event loop's."""

    def __init__(self, bus: Bus, settings: CaptureSettings, spec: StreamSpec, epoch: int) -> None:
        self._bus, self._settings, self._stream, self._epoch = bus, settings, spec.stream, epoch
        self.history = spec.history
        """How much shall be kept in memory, once there are packets."""
        self.layers = LayerPackets(bus, settings.shm_dir, spec.stream, epoch)
        self.forwarded = 0
        self._publisher: PacketPublisher | None = None
        self._wanted = False
        self._times = Continuity(patience_seconds=0.0)  # their order is of decoding, and must stay

    def set_demand(self, renditions: frozenset[str]) -> None:
        self._wanted = SOURCE_RENDITION in renditions
        self.layers.wanted = renditions

    def times_anew(self) -> None:
        """The source was opened again: its times have nothing to do with those before."""
        self._times.anew()

    def gap(self) -> None:
        """Packets are missing before the next: who takes them waits for a key picture."""
        if self._publisher:
            self._publisher.gap()

    def keep(self, history: str | None) -> None:
        """Keep so much in memory from now on; blocks while it is copied.

        Raises:
            OutOfSpace: shared memory is too small; what was kept still is.
        """
        if self._publisher:
            self._publisher.resize(self._settings.ring_size(history))

    @property
    def held_seconds(self) -> float:
        """How far back those in memory reach."""
        return self._publisher.held_seconds if self._publisher else 0.0

    @property
    def too_large(self) -> int:
        """Packets that were not kept. Those of layers all fit."""
        return self._publisher.too_large if self._publisher else 0

    def publish(self, payload: bytes, *, track: str, pts_ns: int, dts_ns: int, **fields: Any) -> None:
        """Forward one (fields of `PacketHeader`) as rendition `source`."""
        if self._publisher is None:
            size = self._settings.ring_size(self.history)
            self._publisher = PacketPublisher(
                self._bus,
                self._settings.shm_dir,
                stream=self._stream,
                rendition=SOURCE_RENDITION,
                run=self._epoch,
                ring_seconds=size.seconds,
                ring_bytes=size.max_bytes,
            )
        self._publisher.on_bus = self._wanted
        placed_ns = self._times.place(track, dts_ns, fields.get("duration_ns", 0))
        self._publisher.publish(
            payload, track=track, pts_ns=pts_ns + placed_ns - dts_ns, dts_ns=placed_ns, epoch=self._epoch, **fields
        )
        self.forwarded += 1

    def publish_layer(
        self, rendition: str, payload: bytes, *, track: str, pts_ns: int, dts_ns: int, **fields: Any
    ) -> bool:
        """Forward a packet of one layer, or of the sound that goes with it, as the rendition of that name; True: a key
        picture of it is waited for."""
        placed_ns = self._times.place(f"{rendition} {track}", dts_ns, fields.get("duration_ns", 0))
        return self.layers.publish(
            rendition,
            payload,
            track=track,
            pts_ns=pts_ns + placed_ns - dts_ns,
            dts_ns=placed_ns,
            epoch=self._epoch,
            **fields,
        )

    def close(self) -> None:
        """Take the packet rings away."""
        self.layers.close()
        if self._publisher:
            self._publisher.close()
