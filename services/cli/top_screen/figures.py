"""Figures that services show at `/metrics`, read by ourselves: how late loops are, how old pictures are at each stage.

A mesh on one machine needs no Prometheus for that; of hosts whose metrics nobody here can reach, they are missing.
"""

import asyncio
import http.client
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from schemas.resources import Presence

_TIMEOUT_SECONDS: Final = 1.0
_MAX_BYTES: Final = 4 << 20  # a service with hundreds of streams has some hundred KiB
_AT_ONCE: Final = 8
_WANTED: Final = {
    "framemesh_loop_lag_seconds": "lag",
    "framemesh_capture_latency_seconds": "ring",
    "framemesh_hw_encode_latency_seconds": "encoded",
    "framemesh_webrtc_send_latency_seconds": "sent",
}
_BUCKET: Final = re.compile(r"(framemesh_[a-z_]+)_bucket\{([^}]*)\} ([0-9.e+]+)")
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')
_MS: Final = 1_000

Key = tuple[str, str]
"""What is measured, and the stream; of the loop the service's instance."""
Buckets = dict[float, float]
"""Counts up to each bound in seconds."""


class Figures:
    """Keeps the counts of the look before: what is shown is of the time since then."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="figures")
        self._before: dict[tuple[str, Key], Buckets] = {}
        self.missing: set[str] = set()
        """Services whose figures cannot be read."""

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def look(self, present: Iterable[Presence]) -> dict[Key, Buckets]:
        """What was counted since the look before, or since their start at the first one."""
        wanted = [one for one in present if one.metrics_url]
        loop = asyncio.get_running_loop()
        texts = await asyncio.gather(*(loop.run_in_executor(self._threads, _read, one.metrics_url) for one in wanted))
        self.missing = {f"{one.service}@{one.node}" for one, text in zip(wanted, texts, strict=True) if text is None}
        found: dict[Key, Buckets] = {}
        now: dict[tuple[str, Key], Buckets] = {}
        for one, text in zip(wanted, texts, strict=True):
            for key, counts in parse(text or "", one.instance).items():
                now[one.instance, key] = counts
                before = self._before.get((one.instance, key), {})
                total = found.setdefault(key, {})
                for bound, count in counts.items():
                    total[bound] = total.get(bound, 0.0) + max(0.0, count - before.get(bound, 0.0))
        self._before = now
        return found


def quantile_ms(counts: Buckets | None, share: float) -> float | None:
    """Within its bucket evenly, as Prometheus has it; None: nothing was counted."""
    if not counts:
        return None
    bounds = sorted(counts)
    total = counts[bounds[-1]]
    if total <= 0:
        return None
    wanted, below, low = total * share, 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= wanted:
            if bound == float("inf"):
                return low * _MS
            inside = counts[bound] - below
            return (low + (bound - low) * ((wanted - below) / inside if inside else 0.0)) * _MS
        below, low = counts[bound], bound
    return low * _MS


def parse(text: str, instance: str) -> dict[Key, Buckets]:
    """The wanted histograms of one service; those of a stream's renditions are added up."""
    found: dict[Key, Buckets] = {}
    for name, labels, value in _BUCKET.findall(text):
        kind = _WANTED.get(name)
        if kind is None:
            continue
        said = dict(_LABEL.findall(labels))
        counts = found.setdefault((kind, said.get("stream", instance)), {})
        try:
            bound = float(said.get("le", "nan").replace("+Inf", "inf"))
            counts[bound] = counts.get(bound, 0.0) + float(value)
        except ValueError:  # not of a service of ours
            continue
    return found


def _read(url: str) -> str | None:
    """None: it cannot be read; whoever wrote the address is no more trusted than to name a host and a port."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            return None
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            return answer.read(_MAX_BYTES).decode(errors="replace") if answer.status == http.client.OK else None
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return None
