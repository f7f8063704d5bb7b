"""The layers of one publisher: how each comes in, and which of them is rendition `source`.

`source` is no other name of one layer but follows the best: whoever records, decodes or views it is not to know that
layers come and go with the publisher's line. It goes from one to another at a key picture, so that nobody waits.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.packets import PacketHeader
from schemas.resources import LayerInfo
from schemas.units import NS_PER_SECOND

_ACTIVE_NS = 2 * NS_PER_SECOND  # a layer silent for so long is shown as ended; still screens are sent once a second
# The followed layer has ended when another one goes on without it. Every layer is made from the same pictures: that one
# of them brings this many while the other brings none in this time is neither a slow camera nor a lost packet.
_ENDED_PICTURES, _ENDED_NS = 3, NS_PER_SECOND // 2
# One that ended and came back is followed again when it has lasted: on a line that is nearly good enough `source` would
# change its size with every second otherwise.
_STEADY_NS = 2 * NS_PER_SECOND
_WINDOW_NS = 3 * NS_PER_SECOND  # of the bitrate that is shown
_MAX_WINDOW_UNITS = 512  # 3 s of 170 pictures/s
_MIN_STEP_NS = 11_112  # one tick of the 90 kHz clock
_REPORT_NS = NS_PER_SECOND
# A bitrate that wanders by less is no news, and state is kept for all.
_REPORT_SAME_NS, _REPORT_CHANGE = 5 * NS_PER_SECOND, 0.2


@dataclass
class Layer:
    """What has come of one of them; times are those of arrival at the gateway."""

    rendition: str
    width: int = 0
    height: int = 0
    index: int = 0
    waits_for_key: bool = True
    heard_ns: int | None = None
    began_ns: int = 0
    """When it came after its last silence."""
    ahead: int = 0
    """Pictures since the last of the layer that is followed."""
    failed: bool = False
    """It ended while it was followed."""
    _recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_MAX_WINDOW_UNITS))

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def is_gap_before(self, index: int) -> bool:
        """Whether something is missing between the unit before and the one of this index, which has come."""
        gap, self.index = index != self.index + 1 and not self.waits_for_key, index
        return gap

    def heard(self, size: int, now_ns: int) -> None:
        """An access unit that can be used has come."""
        if self.heard_ns is None or now_ns - self.heard_ns > _ENDED_NS:
            self.began_ns = now_ns
        self.heard_ns = now_ns
        self._recent.append((now_ns, size))

    def is_active(self, now_ns: int) -> bool:
        return self.heard_ns is not None and now_ns - self.heard_ns < _ACTIVE_NS

    def bitrate(self, now_ns: int) -> int:
        """Of the last seconds, bit/s; while it has not come for so long, of the time since it came."""
        while self._recent and now_ns - self._recent[0][0] > _WINDOW_NS:
            self._recent.popleft()
        window_ns = max(NS_PER_SECOND, min(_WINDOW_NS, now_ns - self.began_ns))
        return sum(size for _, size in self._recent) * 8 * NS_PER_SECOND // window_ns


class Layers:
    """All of one publisher, in the order in which it names them; of a publisher without layers the one, `source`."""

    def __init__(self, renditions: Sequence[str]) -> None:
        self._all = {rendition: Layer(rendition) for rendition in renditions}
        self.followed: Layer | None = None
        """Whose packets are those of `source`."""
        self._dts_ns = 0
        """Of the last packet of `source`."""

    @property
    def aim(self) -> str | None:
        """The layer that key pictures of `source` are asked of; None: nothing has come yet."""
        if self.followed is None or self.followed.heard_ns is None:
            return None
        now_ns = max(layer.heard_ns or 0 for layer in self._all.values())
        goes_to = self.wanted(now_ns) if self.has_ended(now_ns) else None
        return (goes_to or self.followed).rendition

    def find(self, rendition: str) -> Layer | None:
        return self._all.get(rendition)

    def follows(self, layer: Layer, *, key: bool, now_ns: int) -> bool:
        """Whether a picture of `layer`, which has come just now, is one of `source`; `followed` may be another then."""
        if layer is self.followed:
            self._catch_up()
            return True
        layer.ahead += 1
        if not key or not self._is_better(layer, now_ns):
            return False
        if self.followed is not None and self.has_ended(now_ns):
            self.followed.failed = True
        self.followed = layer
        self._catch_up()
        return True

    def has_ended(self, now_ns: int) -> bool:
        """Whether the followed layer has."""
        heard_ns = self.followed.heard_ns if self.followed else None
        ahead = max(layer.ahead for layer in self._all.values())
        return heard_ns is not None and ahead >= _ENDED_PICTURES and now_ns - heard_ns >= _ENDED_NS

    def wanted(self, now_ns: int) -> Layer | None:
        """The layer that `source` would go to with its next key picture; None: it stays."""
        better = [
            layer for layer in self._all.values() if layer is not self.followed and self._is_better(layer, now_ns)
        ]
        return max(better, key=lambda layer: layer.pixels, default=None)

    def _catch_up(self) -> None:
        for layer in self._all.values():
            layer.ahead = 0

    def _is_better(self, layer: Layer, now_ns: int) -> bool:
        if not layer.pixels or not layer.is_active(now_ns):
            return False
        if self.followed is None:
            return True
        if not self.has_ended(now_ns):
            steady = not layer.failed or now_ns - layer.began_ns >= _STEADY_NS
            return steady and layer.pixels > self.followed.pixels
        at_work = [
            other.pixels
            for other in self._all.values()
            if other.heard_ns is not None and now_ns - other.heard_ns < _ENDED_NS and other is not self.followed
        ]
        return layer.pixels >= max(at_work, default=0)

    def placed(self, header: PacketHeader) -> PacketHeader:
        """A packet of the followed layer, with times that go on where the layer before ended: what is late by a moment,
        as its times came another way, is put directly behind."""
        late_ns = self._dts_ns + _MIN_STEP_NS - header.dts_ns
        if 0 < late_ns < _ENDED_NS:
            header = msgspec.structs.replace(header, dts_ns=header.dts_ns + late_ns, pts_ns=header.pts_ns + late_ns)
        self._dts_ns = header.dts_ns
        return header

    def shown(self, now_ns: int) -> tuple[LayerInfo, ...]:
        """Their state; empty where the publisher sends no layers."""
        if len(self._all) == 1:
            return ()
        return tuple(
            LayerInfo(
                rendition=layer.rendition,
                active=layer.is_active(now_ns),
                followed=layer is self.followed,
                width=layer.width,
                height=layer.height,
                bitrate=layer.bitrate(now_ns),
            )
            for layer in self._all.values()
        )


class LayerReport:
    """Tells of layers when they change, and now and then of their bitrates."""

    def __init__(self, layers: Layers, tell: Callable[[tuple[LayerInfo, ...]], None]) -> None:
        self._layers, self._tell = layers, tell
        self._told: tuple[LayerInfo, ...] = ()
        self._told_ns = 0

    def tell(self, now_ns: int) -> None:
        """A unit has come at `now_ns`; what has changed since may be told."""
        if self._told and now_ns - self._told_ns < _REPORT_NS:
            return
        shown = self._layers.shown(now_ns)
        if self._is_news(shown, now_ns):
            self._told, self._told_ns = shown, now_ns
            self._tell(shown)

    def _is_news(self, shown: tuple[LayerInfo, ...], now_ns: int) -> bool:
        if _without_bitrate(shown) != _without_bitrate(self._told):
            return True
        wanders = any(
            abs(now.bitrate - before.bitrate) > _REPORT_CHANGE * before.bitrate
            for now, before in zip(shown, self._told, strict=True)
        )
        return wanders and now_ns - self._told_ns >= _REPORT_SAME_NS


def _without_bitrate(layers: tuple[LayerInfo, ...]) -> list[LayerInfo]:
    return [msgspec.structs.replace(layer, bitrate=0) for layer in layers]
