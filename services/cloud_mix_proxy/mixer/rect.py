"""Rectangles on the canvas, in pixels. Even everywhere: half the colour is kept in both directions."""

from collections.abc import Iterable
from typing import NamedTuple


class Rect(NamedTuple):
    """From `left` and `top` up to, without, `right` and `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def contains(self, other: "Rect") -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def meet(self, other: "Rect") -> "Rect | None":
        """What both cover; None: nothing."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Rect(left, top, right, bottom) if left < right and top < bottom else None

    def moved(self, x: int, y: int) -> "Rect":
        return Rect(self.left + x, self.top + y, self.right + x, self.bottom + y)


def even_rect(x: int, y: int, width: int, height: int) -> Rect:
    """The rectangle at the even place at or before (x, y), of the even size that fits."""
    left, top = x & ~1, y & ~1
    return Rect(left, top, left + max(2, width & ~1), top + max(2, height & ~1))


def without_contained(rects: Iterable[Rect]) -> list[Rect]:
    """Those that no other one contains, each once."""
    kept: list[Rect] = []
    for rect in sorted(set(rects), key=lambda one: one.width * one.height, reverse=True):
        if not any(other.contains(rect) for other in kept):
            kept.append(rect)
    return kept
