"""The canvas: draws layers into the slots of a ring, and in each slot only what has changed since it was drawn."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from services.cloud_mix_proxy.mixer.layer import Fill, Layer, Planes
from services.cloud_mix_proxy.mixer.rect import Rect, without_contained
from shared.pixel_formats import Picture, planes
from shared.ring import RingGeometry


class _Drawn(NamedTuple):
    """What a slot shows, from the bottom up."""

    version: int
    rect: Rect


class Canvas:
    """Draws pictures of one size over one background colour.

    Layers are named: what has the name of a layer before it takes its place.
    """

    def __init__(self, geometry: RingGeometry, background: Fill, slots: int) -> None:
        """`slots`: how many are in use at most; what is known of others is forgotten."""
        self.geometry = geometry
        self._background = background
        self._whole = Rect(0, 0, geometry.width, geometry.height)
        self._slots = slots
        self._drawn: OrderedDict[Hashable, dict[str, _Drawn]] = OrderedDict()
        self.drawn_pixels = 0
        """Of all pictures: what had changed."""

    def draw(self, slot: Hashable, picture: Picture, layers: Mapping[str, Layer]) -> None:
        """Draw the layers, from the bottom up, into a slot, which still has what was drawn into it last.

        Args:
            slot: which one it is; another one with the same name would keep what is not there.
            picture: shape (height * 3 / 2, width), yuv420p.
        """
        before = self._drawn.pop(slot, None)
        now = {name: _Drawn(layer.version, layer.rect) for name, layer in layers.items()}
        target = planes(picture, "yuv420p", self.geometry.width, self.geometry.height)
        stack = list(layers.values())
        for rect in self._changed(before, now):
            self._paint(target, rect, stack)
            self.drawn_pixels += rect.width * rect.height
        self._drawn[slot] = now
        while len(self._drawn) > self._slots:
            self._drawn.popitem(last=False)

    def forget(self, slot: Hashable) -> None:
        """Something else was drawn into the slot."""
        self._drawn.pop(slot, None)

    def paint(self, target: Planes, layers: Sequence[Layer]) -> None:
        """Draw all of a picture."""
        self._paint(target, self._whole, layers)

    def _changed(self, before: dict[str, _Drawn] | None, now: dict[str, _Drawn]) -> list[Rect]:
        if before is None or [name for name in before if name in now] != [name for name in now if name in before]:
            return [self._whole]
        rects = []
        for name in {**before, **now}:
            old, new = before.get(name), now.get(name)
            if old == new:
                continue
            rects += [drawn.rect for drawn in (old, new) if drawn is not None]
        return without_contained(seen for rect in rects if (seen := rect.meet(self._whole)) is not None)

    def _paint(self, target: Planes, rect: Rect, layers: Sequence[Layer]) -> None:
        """Anew from what hides everything beneath it: blending over what was blended would make it more opaque."""
        lowest = max((place for place, one in enumerate(layers) if one.opaque and one.rect.contains(rect)), default=-1)
        if lowest < 0:
            self._background.draw(target, rect)
        for layer in layers[max(lowest, 0) :]:
            layer.draw(target, rect)
