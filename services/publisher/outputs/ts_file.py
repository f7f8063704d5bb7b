"""A recording as MPEG-TS (ISO/IEC 13818-1): playable wherever it is cut off, and files can be joined end to end."""

from collections import deque
from typing import Final

from services.publisher.outputs.file_output import FileOutput
from services.publisher.outputs.ts_sink import TsSink

TS_VIDEO_CODECS: Final = frozenset({"h264", "hevc"})
"""Video with a stream type that receivers know."""
# How far the clock in the stream runs ahead of the pictures: a decoder needs it before them, and 0 leaves none.
_CLOCK_LEAD_MICROSECONDS = 100_000


class TsFile(FileOutput):
    """One transport stream. Every packet goes to the file at once: a killed process loses what the muxer sorts."""

    container_format = "mpegts"
    video_codecs = TS_VIDEO_CODECS
    audio_tracks = ("aac", "opus")
    _pictures: TsSink | None = None

    def _options(self) -> dict[str, str]:
        return ts_options()

    def _new_sink(self, fd: int) -> TsSink:
        self._pictures = TsSink(fd, self.settings)
        return self._pictures

    def close(self) -> None:
        super().close()
        if self._pictures:
            self._pictures.all_done()

    @property
    def picture_offsets(self) -> deque[int] | None:
        return self._pictures.pictures if self._pictures else None


def ts_options() -> dict[str, str]:
    """Options of libav's MPEG-TS muxer, for files and for the network."""
    return {"max_delay": str(_CLOCK_LEAD_MICROSECONDS)}
