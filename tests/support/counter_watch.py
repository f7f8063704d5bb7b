"""A service's figures as a scraper sees them, all the time."""

import itertools
import re
import threading
import time
import urllib.request
from types import TracebackType
from typing import Self

_SCRAPE_SECONDS = 2.0
_POLL_SECONDS = 0.05


def figure(url: str, name: str, **labels: str) -> float:
    """The value of one sample at a `/metrics` URL; 0 when it is not there."""
    with urllib.request.urlopen(url, timeout=_SCRAPE_SECONDS) as response:
        text = response.read().decode()
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            return float(match[2])
    return 0.0


class CounterWatch:
    """Scrapes one counter all the time in a thread; afterwards `longest_pause_seconds` and `per_second` are known."""

    def __init__(self, url: str, name: str, **labels: str) -> None:
        self._url, self._name, self._labels = url, name, labels
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.samples: list[tuple[float, float]] = []
        """(monotonic seconds, value)"""

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            value = figure(self._url, self._name, **self._labels)
            self.samples.append((time.monotonic(), value))

    @property
    def longest_pause_seconds(self) -> float:
        """The longest time in which the counter did not rise."""
        rises = [self.samples[0][0]]
        rises += [at for (_, before), (at, value) in itertools.pairwise(self.samples) if value > before]
        rises.append(self.samples[-1][0])
        return max(after - before for before, after in itertools.pairwise(rises))

    @property
    def per_second(self) -> float:
        (first_at, first), (last_at, last) = self.samples[0], self.samples[-1]
        return (last - first) / (last_at - first_at)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(5)
