"""The columns of each table: what stands in them, what is worth a colour, and what they are sorted by."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

from schemas.units import NS_PER_SECOND
from services.cli.table import printable
from services.cli.top_screen.scene import EventRow, ServiceRow, StreamRow, WorkRow

Tone = Literal["", "good", "warn", "bad", "dim"]
RowT = TypeVar("RowT")

_BUSY_PERCENT: Final = 90.0  # of one core: Python's loop has no second one
_LATE_MS: Final = 50.0  # a picture at 20 fps: who is later than that drops some
_TONES: Final[dict[str, Tone]] = {
    **dict.fromkeys(("live", "running", "active", "completed", "on"), "good"),
    **dict.fromkeys(("connecting", "starting", "waiting", "queued", "pending", "prepare", "retrying"), "warn"),
    **dict.fromkeys(("stalled", "frozen", "reconnecting", "failed", "no owner", "away", "lost"), "bad"),
    **dict.fromkeys(("idle", "off", "finished", "canceled", "ended"), "dim"),
}
_URGENCY: Final[tuple[Tone, ...]] = ("bad", "warn", "", "good", "dim")


@dataclass(frozen=True)
class Column(Generic[RowT]):
    title: str
    text: Callable[[RowT], str]
    order: Callable[[RowT], Any]
    """Least first."""
    right: bool = False
    """Numbers stand at the right."""
    rank: int = 0
    """Where there is no room, those with the highest are left out first."""
    tone: Callable[[RowT], Tone] = lambda _: ""
    most: int = 40
    """Characters; longer text is cut."""

    def cell(self, row: RowT) -> str:
        text = printable(self.text(row))
        return text if len(text) <= self.most else text[: self.most - 1] + "…"


def tone_of(state: str) -> Tone:
    return _TONES.get(state, "")


def _worst_first(state: str) -> tuple[int, str]:
    return _URGENCY.index(tone_of(state)), state


def rate(bits: int) -> str:
    return "-" if not bits else f"{bits / 1e6:.1f}M" if bits >= 1_000_000 else f"{bits / 1e3:.0f}k"


def size(count: int) -> str:
    return f"{count / 1e9:.1f}G" if count >= 1_000_000_000 else f"{count / 1e6:.0f}M"


def age(seconds: float) -> str:
    """`42s`, `17m`, `5h`, `12d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def clock(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / NS_PER_SECOND).strftime("%H:%M:%S")


def _fps(row: StreamRow) -> str:
    return "-" if row.fps_in is None or row.fps_out is None else f"{row.fps_in:.0f}/{row.fps_out:.0f}"


def _delay(row: StreamRow) -> str:
    """In the ring, encoded, sent: `1›6›7`; what was not measured is left out at the end."""
    stages = [row.ring_ms, row.encoded_ms, row.sent_ms]
    while stages and stages[-1] is None:
        stages.pop()
    return "›".join("-" if stage is None else f"{stage:.0f}" for stage in stages) or "-"


def _last_delay(row: StreamRow) -> float:
    return next((one for one in (row.sent_ms, row.encoded_ms, row.ring_ms) if one is not None), -1.0)


STREAMS: Final[tuple[Column[StreamRow], ...]] = (
    Column("STREAM", lambda r: r.stream, lambda r: r.stream, most=20),
    Column("STATE", lambda r: r.state, lambda r: _worst_first(r.state), tone=lambda r: tone_of(r.state), most=12),
    Column("SIZE", lambda r: f"{r.width}x{r.height}" if r.width else "-", lambda r: -r.width * r.height, rank=3),
    Column("FPS", _fps, lambda r: -(r.fps_in or 0.0), right=True),
    Column("RATE", lambda r: rate(r.bitrate), lambda r: -r.bitrate, right=True),
    Column(
        "DROP",
        lambda r: str(sum(r.dropped.values())),
        lambda r: -sum(r.dropped.values()),
        right=True,
        tone=lambda r: "warn" if r.dropped else "dim",
    ),
    Column("DELAY ms", _delay, lambda r: -_last_delay(r), right=True, rank=1),
    Column("VIEW", lambda r: str(r.viewers or "-"), lambda r: -r.viewers, right=True),
    Column(
        "SCREEN ms", lambda r: "-" if r.seen_ms is None else f"{r.seen_ms:.0f}", lambda r: -(r.seen_ms or 0), True, 5
    ),
    Column("CODEC", lambda r: r.codec or "-", lambda r: r.codec, rank=6),
    Column("NODE", lambda r: r.node or "-", lambda r: r.node, rank=2, most=16),
    Column(
        "SOURCE", lambda r: r.error or r.source, lambda r: r.source, rank=7, tone=lambda r: "bad" if r.error else "dim"
    ),
)
SERVICES: Final[tuple[Column[ServiceRow], ...]] = (
    Column(
        "SERVICE", lambda r: r.service if r.number == 1 else f"{r.service}#{r.number}", lambda r: r.service, most=20
    ),
    Column("NODE", lambda r: r.node, lambda r: r.node, most=16),
    Column(
        "CPU %",
        lambda r: f"{r.cpu_percent:.0f}",
        lambda r: -r.cpu_percent,
        right=True,
        tone=lambda r: "warn" if r.cpu_percent >= _BUSY_PERCENT else "",
    ),
    Column("RSS", lambda r: size(r.rss_bytes), lambda r: -r.rss_bytes, right=True),
    Column(
        "LAG ms",
        lambda r: "-" if r.lag_ms is None else f"{r.lag_ms:.1f}",
        lambda r: -(r.lag_ms or 0.0),
        right=True,
        tone=lambda r: "warn" if (r.lag_ms or 0.0) >= _LATE_MS else "",
    ),
    Column(
        "RESTARTS",
        lambda r: str(r.restarts),
        lambda r: -r.restarts,
        right=True,
        tone=lambda r: "warn" if r.restarts else "dim",
    ),
    Column("UP", lambda r: age(r.up_s), lambda r: r.up_s, right=True),
    Column("VERSION", lambda r: r.version, lambda r: r.version, rank=5, tone=lambda _: "dim"),
)
WORK: Final[tuple[Column[WorkRow], ...]] = (
    Column("KIND", lambda r: r.kind, lambda r: r.kind),
    Column("NAME", lambda r: r.name, lambda r: r.name, most=36),
    Column("STATE", lambda r: r.state, lambda r: _worst_first(r.state), tone=lambda r: tone_of(r.state), most=12),
    Column(
        "DETAIL", lambda r: r.error or r.detail, lambda r: r.detail, tone=lambda r: "bad" if r.error else "", most=60
    ),
    Column("NODE", lambda r: r.node or "-", lambda r: r.node, rank=4, most=16),
)
EVENTS: Final[tuple[Column[EventRow], ...]] = (
    Column("TIME", lambda r: clock(r.at_ns), lambda r: -r.at_ns, tone=lambda _: "dim"),
    Column("OF", lambda r: f"{r.service} {r.resource}", lambda r: r.service, most=34),
    Column("EVENT", lambda r: r.event if not r.state else r.state, lambda r: r.event, tone=lambda r: tone_of(r.state)),
    Column("TRACE", lambda r: r.trace_id[:8], lambda r: r.trace_id, rank=5, tone=lambda _: "dim"),
    Column("ERROR", lambda r: r.error, lambda r: r.error, rank=1, tone=lambda _: "bad", most=80),
)


def fitting(columns: tuple[Column[RowT], ...], rows: list[RowT], width: int, gap: int = 2) -> tuple[Column[RowT], ...]:
    """As many as there is room for; the first two always."""
    wide = {one.title: max([len(one.title), *(len(one.cell(row)) for row in rows)]) for one in columns}
    kept = list(columns)
    while len(kept) > 2 and sum(wide[one.title] + gap for one in kept) - gap > width:  # a name and a state
        kept.remove(max(kept[2:], key=lambda one: (one.rank, columns.index(one))))
    return tuple(kept)
