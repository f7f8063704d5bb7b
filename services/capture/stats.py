"""The figures of one stream at this moment, from its runner, its sink and its ring."""

from typing import Literal

from schemas.capture_commands import StreamStats
from schemas.resources import StreamState
from services.capture.settings import CaptureSettings
from services.capture.stream import StreamRunner
from shared.ring import newest_picture
from shared.service import Context

_STATUS: dict[StreamState, Literal[0, 2, 4]] = {"live": 2, "off": 0}
_NO_DELIVERY: Literal[4] = 4


def stream_stats(stream: str, context: Context[CaptureSettings], runner: StreamRunner | None) -> StreamStats:
    """What a stream has done and does; without a runner it has failed before it began."""
    actual = runner.actual if runner else None
    if runner is None or actual is None:
        return StreamStats(stream=stream, node=context.node, state="failed", status=_NO_DELIVERY)
    sink, video = runner.sink, actual.video
    voice = sink.voice if sink else None
    newest = newest_picture(context.settings.shm_dir, stream)
    return StreamStats(
        stream=stream,
        node=context.node,
        instance=context.share.number if context.share else 1,
        state=actual.state,
        status=_STATUS.get(actual.state, _NO_DELIVERY),
        error=actual.error,
        since_ns=actual.since_ns,
        epoch=actual.epoch,
        fps=sink.rates.arrived_fps if sink else 0.0,
        decoded_fps=sink.rates.written_fps if sink else 0.0,
        bitrate=sink.rates.bitrate if sink else 0,
        history_s=sink.packets.held_seconds if sink else 0.0,
        width=newest.width if newest else video.width if video else 0,
        height=newest.height if newest else video.height if video else 0,
        pixel_format=newest.pixel_format if newest else video.pixel_format if video else None,
        source_width=video.width if video else 0,
        source_height=video.height if video else 0,
        frames=sink.frames.written if sink else 0,
        dropped=dict(sink.dropped) if sink else {},
        last_frame_ns=sink.arrivals.last_ns if sink else 0,
        restarts=runner.reconnects,
        stalls=runner.health.stalls,
        freezes=runner.health.freezes,
        sequence=newest.sequence if newest else 0,
        level_dbfs=voice.level_dbfs if voice else None,
        voice_probability=voice.probability if voice else None,
        speaking=voice is not None and voice.speaking,
    )
