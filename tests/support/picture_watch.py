"""Every presented picture's time in the console page, to measure how long the picture was away."""

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

from playwright.sync_api import Page

from tests.support.pace import Patience

_POLL_SECONDS = 0.02
_PAUSE_MS = 400  # ten pictures of a 25 fps stream: longer is no steady picture

# The tile's own count of presented pictures, looked at more often than pictures come. The list is bounded.
_RECORD = """
(stream) => {
  window.seen = [];
  let last = -1;
  setInterval(() => {
    const tile = framemesh.tiles.get(stream);
    if (!tile || tile.framesPresented === last) return;
    last = tile.framesPresented;
    seen.push(performance.now());
    if (seen.length > 20000) seen.splice(0, 10000);
  }, 5);
}
"""


class Gap(NamedTuple):
    """The longest time without a new picture since a moment."""

    seconds: float
    back_after_seconds: float
    """From that moment to the first picture after the gap."""


class PictureWatch:
    """One stream on the console as a person sees it. Times are milliseconds of the page's own clock."""

    def __init__(self, page: Page, stream: str) -> None:
        self._page, self._stream = page, stream
        page.wait_for_function("() => window.framemesh?.tiles", timeout=10_000)
        page.evaluate(_RECORD, stream)

    def now_ms(self) -> float:
        return float(self._page.evaluate("() => performance.now()"))

    def pictures_since(self, since_ms: float) -> list[float]:
        """When new pictures were on screen."""
        found = self._page.evaluate("(since_ms) => seen.filter((at) => at >= since_ms)", since_ms)
        return [float(at) for at in found]

    def wait_for_pictures(self, count: int, since_ms: float = 0.0, seconds: float = 10.0) -> None:
        """Wait for so many new pictures after a moment.

        Raises:
            AssertionError: they did not come; tells the tile's report.
        """
        self._until(lambda: len(self.pictures_since(since_ms)) >= count, seconds, f"{count} pictures")

    def gap_after(self, since_ms: float, *, steady_pictures: int = 30, seconds: float = 20.0) -> Gap:
        """The longest gap after `since_ms`, once `steady_pictures` have come in a row.

        Raises:
            AssertionError: the picture does not become steady; tells the tile's report.
        """
        found: list[float] = []

        def steady() -> bool:
            found[:] = [since_ms, *self.pictures_since(since_ms)]
            tail = found[-steady_pictures:]
            return len(found) > steady_pictures and all(
                after - before < _PAUSE_MS for before, after in itertools.pairwise(tail)
            )

        self._until(steady, seconds, "a steady picture")
        length, back = max((after - before, after) for before, after in itertools.pairwise(found))
        return Gap(length / 1e3, (back - since_ms) / 1e3)

    def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        patience = Patience(seconds)
        while not condition():
            if patience.is_over():
                report = self._page.evaluate("(stream) => JSON.stringify(framemesh.tiles.get(stream))", self._stream)
                raise AssertionError(f"not within {seconds} s: {what} of {self._stream}; {report}")
            time.sleep(_POLL_SECONDS)
