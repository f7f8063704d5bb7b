"""What a client tells of its side: statistics under W3C's names, kept within bounds, as they are a stranger's."""

import math
import time
from collections.abc import Iterable
from typing import Any

import msgspec

Report = dict[str, str | int | float | bool]
# How streams go. Not kept: certificates, and candidates, which tell addresses.
_KEPT_TYPES = (
    "inbound-rtp",
    "outbound-rtp",
    "remote-inbound-rtp",
    "remote-outbound-rtp",
    "media-source",
    "candidate-pair",
    "transport",
    "data-channel",
)
_MAX_REPORTS = 64  # eight streams of sound and pictures have 16, a publisher in three layers some ten
_MAX_FIELDS = 96  # an inbound-rtp of pictures has about 70
_MAX_CHARACTERS = 64  # of a name or a text
_MAX_BYTES = 32 * 1024  # of all, written as JSON: 256 clients keep 8 MB
_MAX_INTEGER = 2**63  # beyond it there is no writing them
_decoder = msgspec.json.Decoder(list[dict[str, Any]])


class ClientReports:
    """The last ones of one client."""

    def __init__(self) -> None:
        self.at_ns = 0
        """When they came, CLOCK_REALTIME; 0: never."""
        self._written: list[bytes] = []
        self._by_ssrc: dict[int, bytes] = {}

    def take(self, raw: msgspec.Raw) -> bool:
        """Keep what there is instead of what there was; False: it is no list of reports, or is empty."""
        try:
            said = _decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return False
        known = [report for report in said if report.get("type") in _KEPT_TYPES]
        if not known:
            return False
        known.sort(key=lambda report: _KEPT_TYPES.index(report["type"]))
        self.at_ns, self._written, self._by_ssrc, size_bytes = time.time_ns(), [], {}, 0
        for report in known[:_MAX_REPORTS]:
            written = msgspec.json.encode(_plain(report))
            size_bytes += len(written)
            if size_bytes > _MAX_BYTES:
                break
            self._written.append(written)
            ssrc = report.get("ssrc")
            if report["type"] == "inbound-rtp" and isinstance(ssrc, int):
                self._by_ssrc[ssrc] = written
        return True

    def all(self) -> tuple[Report, ...]:
        return tuple(msgspec.json.decode(written) for written in self._written)

    def inbound(self, ssrcs: Iterable[int]) -> tuple[int, tuple[Report, ...]]:
        """How the client receives streams of ours, and when it said so."""
        return self.at_ns, tuple(msgspec.json.decode(self._by_ssrc[ssrc]) for ssrc in ssrcs if ssrc in self._by_ssrc)


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """Its names, texts and numbers; no lists and nothing nested."""
    kept: dict[str, Any] = {}
    for name, value in report.items():
        if len(kept) == _MAX_FIELDS:
            break
        if len(name) <= _MAX_CHARACTERS and _is_plain(value):
            kept[name] = value
    return kept


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_CHARACTERS
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < _MAX_INTEGER
