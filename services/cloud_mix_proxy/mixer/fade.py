"""From one layout to the next through both."""

import numpy as np

from schemas.mix_resources import MixSpec
from schemas.units import parse_duration
from services.cloud_mix_proxy.mixer.canvas import Canvas
from services.cloud_mix_proxy.mixer.layer import OPAQUE, Layer, Planes, Weights, blend
from shared.pixel_formats import Picture, planes


class Fade:
    """The last layers of the former layout, which lie beneath those of the new one, less and less to be seen."""

    def __init__(self, spec: MixSpec, former: dict[str, Layer], began_ns: int) -> None:
        self._former = former
        self._began_ns = began_ns
        self._length_ns = int(parse_duration(spec.fade, "fade") * 1e9) if spec.fade else 0
        self._picture: Picture | None = None

    def over(self, now_ns: int) -> bool:
        return now_ns - self._began_ns >= self._length_ns

    def draw(self, canvas: Canvas, target: Picture, layers: dict[str, Layer], now_ns: int) -> None:
        """Draw both, the new one over the former by how much time has passed."""
        share = max(0.0, min(1.0, (now_ns - self._began_ns) / max(self._length_ns, 1)))
        new = _planes(canvas, target)
        canvas.paint(new, list(layers.values()))
        if self._picture is None:  # of a layout that is going nothing moves any more
            self._picture = np.empty_like(target)
            canvas.paint(_planes(canvas, self._picture), list(self._former.values()))
        weight: Weights = np.full((1, 1), round((1 - share) * OPAQUE), np.uint16)
        for plane, former in zip(new, _planes(canvas, self._picture), strict=True):
            blend(plane, former, weight)


def _planes(canvas: Canvas, picture: Picture) -> Planes:
    return planes(picture, "yuv420p", canvas.geometry.width, canvas.geometry.height)
