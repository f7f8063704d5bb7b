"""From one layout to the next through both."""

from collections.abc import Mapping

import numpy as np

from schemas.mix_resources import MixSpec
from schemas.units import parse_duration
from services.cloud_mix_proxy.mixer.canvas import Canvas
from services.cloud_mix_proxy.mixer.layer import OPAQUE, Layer, Planes, Weights, blend
from shared.pixel_formats import Picture, planes


class Fade:
    """What was seen last lies over the new layout, less and less; of a layout that is going nothing moves any more."""

    def __init__(
        self,
        spec: MixSpec,
        former: Mapping[str, Layer],
        canvas: Canvas,
        began_ns: int,
        under_way: "Fade | None" = None,
    ) -> None:
        """
        Args:
            former: the layers that were drawn last.
            canvas: on which they were.
            under_way: the fade that was not over by then.
        """
        self._began_ns = began_ns
        self._length_ns = int(parse_duration(spec.fade, "fade") * 1e9) if spec.fade else 0
        self._former: Picture = np.empty((canvas.geometry.height * 3 // 2, canvas.geometry.width), np.uint8)
        planes = _planes(canvas, self._former)
        canvas.paint(planes, list(former.values()))
        if under_way is not None:
            under_way.blend(canvas, planes, began_ns)

    def over(self, now_ns: int) -> bool:
        return now_ns - self._began_ns >= self._length_ns

    def draw(self, canvas: Canvas, target: Picture, layers: Mapping[str, Layer], now_ns: int) -> None:
        """Draw the layers, and over them what was seen last by how little time has passed."""
        new = _planes(canvas, target)
        canvas.paint(new, list(layers.values()))
        self.blend(canvas, new, now_ns)

    def blend(self, canvas: Canvas, target: Planes, now_ns: int) -> None:
        """Put what was seen last over it, as much as is left of it."""
        share = max(0.0, min(1.0, (now_ns - self._began_ns) / max(self._length_ns, 1)))
        weight: Weights = np.full((1, 1), round((1 - share) * OPAQUE), np.uint16)
        for plane, former in zip(target, _planes(canvas, self._former), strict=True):
            blend(plane, former, weight)


def _planes(canvas: Canvas, picture: Picture) -> Planes:
    return planes(picture, "yuv420p", canvas.geometry.width, canvas.geometry.height)
