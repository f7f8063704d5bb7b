"""Rounded corners and borders of tiles."""

import numpy as np
import numpy.typing as npt

from services.cloud_mix_proxy.mixer.colours import yuv_of
from services.cloud_mix_proxy.mixer.layer import Alpha, Layer, Part, Weights, weights_of
from services.cloud_mix_proxy.mixer.rect import Rect

_Shares = npt.NDArray[np.float32]


def rounded_parts(width: int, height: int, radius: int, opacity: float) -> list[Part] | None:
    """The parts of a tile with rounded corners: its four corners blended, the rest opaque. None: opaque as a whole.

    A tile that is seen through as a whole is one part.
    """
    if opacity >= 1 and not radius:
        return None
    radius = _fitting(radius, width, height)
    whole = Rect(0, 0, width, height)
    if opacity < 1 or not radius:
        weights = weights_of(rounded(width, height, radius) * np.float32(opacity))
        return [Part(whole, _alpha(weights))]
    edge = radius + radius % 2  # even: colour has half the samples
    alpha = _alpha(weights_of(rounded(width, height, radius)))
    parts = [
        Part(Rect(edge, 0, width - edge, edge), None),
        Part(Rect(0, edge, width, height - edge), None),
        Part(Rect(edge, height - edge, width - edge, height), None),
    ]
    for top in (0, height - edge):
        for left in (0, width - edge):
            rect = Rect(left, top, left + edge, top + edge)
            parts.append(Part(rect, alpha.cut(rect)))
    return [part for part in parts if part.rect.width > 0 and part.rect.height > 0]


def border(rect: Rect, thickness: int, radius: int, colour: str, opacity: float, canvas_height: int) -> Layer:
    """A frame inside the edge of a tile, following its corners."""
    width, height = rect.width, rect.height
    radius = _fitting(radius, width, height)
    ring = rounded(width, height, radius)
    inner_width, inner_height = width - 2 * thickness, height - 2 * thickness
    if inner_width > 0 and inner_height > 0:
        inner = rounded(inner_width, inner_height, max(radius - thickness, 0))
        ring[thickness : height - thickness, thickness : width - thickness] -= inner
    alpha = _alpha(weights_of(np.clip(ring, 0, 1) * np.float32(opacity)))
    y, u, v = yuv_of(colour, canvas_height)
    planes = [
        np.full((height, width), y, np.uint8),
        np.full((height // 2, width // 2), u, np.uint8),
        np.full((height // 2, width // 2), v, np.uint8),
    ]
    # Its four sides, without what they frame: that is most of it.
    deep = max(thickness, radius) + 1 & ~1
    side = thickness + 1 & ~1
    if width <= 2 * deep or height <= 2 * deep:
        parts = [Rect(0, 0, width, height)]
    else:
        parts = [
            Rect(0, 0, width, deep),
            Rect(0, height - deep, width, height),
            Rect(0, deep, side, height - deep),
            Rect(width - side, deep, width, height - deep),
        ]
    return Layer(planes, rect.left, rect.top, [Part(part, alpha.cut(part)) for part in parts])


def _fitting(radius: int, width: int, height: int) -> int:
    return min(radius, width // 2, height // 2)


def rounded(width: int, height: int, radius: int) -> _Shares:
    """How much of each sample lies inside, 0 to 1, by the distance of its middle from the arc."""
    inside: _Shares = np.ones((height, width), np.float32)
    if radius:
        middles = radius - 0.5 - np.arange(radius, dtype=np.float32)
        corner = np.clip(radius + 0.5 - np.hypot(middles[:, None], middles[None, :]), 0, 1)
        inside[:radius, :radius] = corner
        inside[:radius, width - radius :] = corner[:, ::-1]
        inside[height - radius :, :radius] = corner[::-1]
        inside[height - radius :, width - radius :] = corner[::-1, ::-1]
    return inside


def _alpha(luma: Weights) -> Alpha:
    height, width = luma.shape
    four = luma.reshape(height // 2, 2, width // 2, 2).sum(axis=(1, 3), dtype=np.uint32)
    return Alpha(luma, ((four + 2) // 4).astype(np.uint16))
