"""What is drawn onto a canvas: planes of YUV 4:2:0 at a place, with transparency where there is any.

A layer never changes; what looks different is another layer, with another version. Colours are blended in YUV, which
is linear in them: the same as in RGB, but for rounding.
"""

from collections.abc import Sequence
from itertools import count
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from services.cloud_mix_proxy.mixer.rect import Rect

Plane = npt.NDArray[np.uint8 | np.uint16]
"""Samples of 8 bits; the type is that of pictures in rings, some of which have more."""
Planes = Sequence[Plane]
"""Y, U and V, the latter two of half the height and width."""
Weights = npt.NDArray[np.uint16]
OPAQUE: Final = 256
"""Of weights: 0 is invisible. With 256 a share of 8 bits is a shift, and a sum of two fits 16 bits."""
_HALF: Final = 128  # of the last bit that is shifted away: rounds to the nearest
_versions = count(1)


def weights_of(shares: npt.NDArray[np.floating]) -> Weights:
    """Of shares of 0 to 1."""
    weights: Weights = np.rint(shares * OPAQUE).astype(np.uint16)
    return weights


class Alpha(NamedTuple):
    """How opaque each sample is, 0 to 256, for the luma and for the colour: shapes as those planes', or (1, 1)."""

    luma: Weights
    colour: Weights

    def cut(self, rect: Rect) -> "Alpha":
        """Of a rectangle of the layer."""
        if self.luma.size == 1:
            return self
        return Alpha(
            self.luma[rect.top : rect.bottom, rect.left : rect.right],
            self.colour[rect.top // 2 : rect.bottom // 2, rect.left // 2 : rect.right // 2],
        )


class Part(NamedTuple):
    """A rectangle of a layer, counted from the layer's corner, that is opaque (None) or blended."""

    rect: Rect
    alpha: Alpha | None


class Layer:
    """A picture at its place. The planes may be another's memory: they are only read, while the layer is in use."""

    __slots__ = ("opaque", "parts", "planes", "rect", "version")

    def __init__(self, planes: Planes, left: int, top: int, parts: Sequence[Part] | None = None) -> None:
        """`parts`: what is not in any of them is invisible. None: opaque as a whole."""
        height, width = planes[0].shape
        self.planes = planes
        self.rect = Rect(left, top, left + width, top + height)
        self.parts = (Part(Rect(0, 0, width, height), None),) if parts is None else tuple(parts)
        self.opaque = parts is None
        self.version = next(_versions)

    def draw(self, target: Planes, clip: Rect) -> None:
        """Draw what of the layer lies within `clip`, a rectangle of the canvas."""
        for part in self.parts:
            shown = part.rect.moved(self.rect.left, self.rect.top).meet(clip)
            if shown is None:
                continue
            of_layer = shown.moved(-self.rect.left, -self.rect.top)
            if part.alpha is None:
                for number in range(3):
                    np.copyto(_cut(target, number, shown), _cut(self.planes, number, of_layer))
                continue
            alpha = part.alpha.cut(of_layer.moved(-part.rect.left, -part.rect.top))
            for number in range(3):
                weights = alpha.colour if number else alpha.luma
                blend(_cut(target, number, shown), _cut(self.planes, number, of_layer), weights)


class Fill:
    """One colour everywhere: what lies beneath all layers."""

    __slots__ = ("yuv",)

    def __init__(self, yuv: tuple[int, int, int]) -> None:
        self.yuv = yuv

    def draw(self, target: Planes, clip: Rect) -> None:
        for number, value in enumerate(self.yuv):
            _cut(target, number, clip)[...] = value


def blend(target: Plane, picture: Plane, weights: Weights) -> None:
    """Put `picture` over `target`, each sample by its weight."""
    mixed = target.astype(np.uint16)
    mixed *= OPAQUE - weights
    mixed += picture * weights
    mixed += _HALF
    mixed >>= 8
    np.copyto(target, mixed, casting="unsafe")


def _cut(planes: Planes, number: int, rect: Rect) -> Plane:
    share = 2 if number else 1
    return planes[number][rect.top // share : rect.bottom // share, rect.left // share : rect.right // share]
