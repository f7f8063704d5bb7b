"""Rows of a scene, out of what the mesh says of itself."""

from collections.abc import Iterator, Mapping

from schemas.capture_commands import StreamStats
from schemas.commands import MeshStatus, StreamEntry
from schemas.events import Event
from schemas.extraction import Job
from schemas.resources import Presence, RenditionActual
from schemas.units import NS_PER_SECOND
from services.cli.status import WholeStatus
from services.cli.top_screen.scene import EventRow, ServiceRow, StreamRow, WorkRow

_DONE = ("completed", "failed", "canceled")


def service_row(one: Presence, lag_ms: float | None, now_s: float) -> ServiceRow:
    return ServiceRow(
        service=one.service,
        node=one.node,
        number=one.number,
        version=one.version,
        cpu_percent=one.process_cpu_percent,
        rss_bytes=one.rss_bytes,
        restarts=one.restarts,
        up_s=round(max(0.0, now_s - one.started_ns / NS_PER_SECOND), 1),
        lag_ms=_rounded(lag_ms),
        dropped=sum(one.dropped.values()),
    )


def stream_row(
    entry: StreamEntry,
    status: MeshStatus,
    stats: StreamStats | None,
    stages_ms: Mapping[str, float | None],
    viewers: int,
    seen_ms: float | None,
) -> StreamRow:
    """`stages_ms`: `ring`, `encoded`, `sent`."""
    name, actual = entry.spec.stream, entry.actual
    video = actual.video if actual else None
    encoded = [one for one in status.renditions if one.spec.stream == name]
    rates = [one.actual.bitrate for one in encoded if one.actual and one.actual.state == "running"]
    outputs = [one for one in status.outputs if one.spec.stream == name]
    return StreamRow(
        stream=name,
        node=actual.node if actual else entry.spec.node or "",
        state=stats.state if stats else actual.state if actual else "no owner",
        source=actual.source if actual and actual.source else entry.spec.source,
        width=(stats.width if stats else 0) or (video.width if video else 0),
        height=(stats.height if stats else 0) or (video.height if video else 0),
        codec=video.codec if video else "",
        fps_in=stats.fps if stats else None,
        fps_out=stats.decoded_fps if stats else None,
        bitrate=(stats.bitrate if stats else 0) or sum(rates),
        dropped={reason: count for reason, count in stats.dropped.items() if count} if stats else {},
        restarts=actual.restarts if actual else 0,
        ring_ms=_rounded(stages_ms.get("ring")),
        encoded_ms=_rounded(stages_ms.get("encoded")),
        sent_ms=_rounded(stages_ms.get("sent")),
        seen_ms=_rounded(seen_ms),
        viewers=viewers,
        error=actual.error.message if actual and actual.error else "",
        renditions=tuple(_rendition(one.spec.rendition, one.actual) for one in encoded),
        outputs=tuple(
            f"{one.spec.output} {one.actual.state if one.actual else 'no owner'} {one.spec.to}"
            + (f": {one.actual.error.message}" if one.actual and one.actual.error else "")
            for one in outputs
        ),
    )


def _rendition(name: str, actual: RenditionActual | None) -> str:
    if actual is None:
        return f"{name} no owner"
    size = f" {actual.video.width}x{actual.video.height}" if actual.video and actual.video.width else ""
    rate = f" {actual.bitrate / 1e6:.1f}M" if actual.bitrate else ""
    error = f": {actual.error.message}" if actual.error else ""
    return f"{name} {actual.state} {actual.encoder}{size}{rate}{error}".strip()


def work_rows(status: WholeStatus, jobs: tuple[Job, ...]) -> Iterator[WorkRow]:
    """Jobs that are not done first, then what always is there, then jobs that are done."""
    yield from (_job(job) for job in jobs if job.state not in _DONE)
    for mix in status.mixes:
        act = mix.actual
        yield WorkRow(
            kind="mix",
            name=mix.spec.mix,
            state=act.state if act else "no owner",
            node=act.node if act else "",
            detail=f"{mix.spec.layout} {len(mix.spec.inputs)} inputs"
            + (f", {act.fps:.1f} fps, {act.late} late" if act else ""),
            error=act.error.message if act and act.error else "",
        )
    for signal in status.signals:
        now = signal.actual
        yield WorkRow(
            kind="signal",
            name=signal.spec.signal,
            state=now.state if now else "no owner",
            node=now.node if now else "",
            detail=f"{signal.spec.mode} {signal.spec.address}",
            error=now.error.message if now and now.error else "",
        )
    for entry in status.inputs:
        seen = entry.actual
        yield WorkRow(
            kind="input",
            name=entry.spec.input,
            state=seen.state if seen else "no owner",
            node=seen.node if seen else "",
            error=seen.error.message if seen and seen.error else "",
        )
    for rule in status.rules:
        done = rule.actual
        yield WorkRow(
            kind="rule",
            name=rule.spec.rule,
            state=done.state if done else "no owner",
            node=done.node if done else "",
            detail=f"fired {done.fired}" if done else "",
            error=done.error.message if done and done.error else "",
        )
    yield from (_job(job) for job in jobs if job.state in _DONE)


def _job(job: Job) -> WorkRow:
    expected = f"/{job.expected}" if job.expected is not None else ""
    return WorkRow(
        kind="job",
        name=job.id,
        state=job.state,
        node=job.worker,
        detail=f"{job.done}{expected} pictures",
        error=job.message if job.failure else "",
    )


def event_row(event: Event) -> EventRow:
    return EventRow(
        at_ns=event.at_ns,
        service=event.service,
        resource=event.id,
        event=event.event,
        state=event.state,
        error=event.error.message if event.error else "",
        trace_id=event.trace_id,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
