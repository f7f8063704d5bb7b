"""A recording as MPEG-TS (ISO/IEC 13818-1): playable wherever it is cut off, and files can be joined end to end."""

from typing import Final

from services.publisher.outputs.file_output import FileOutput

TS_VIDEO_CODECS: Final = frozenset({"h264", "hevc"})
"""Video with a stream type that receivers know."""
# How far the clock in the stream runs ahead of the pictures: a decoder needs it before them, and 0 leaves none.
_CLOCK_LEAD_MICROSECONDS = 100_000


class TsFile(FileOutput):
    """One transport stream. Every packet goes to the file at once: a killed process loses what the muxer sorts."""

    container_format = "mpegts"
    video_codecs = TS_VIDEO_CODECS
    audio_tracks = ("aac", "opus")

    def _options(self) -> dict[str, str]:
        return ts_options()


def ts_options() -> dict[str, str]:
    """Options of libav's MPEG-TS muxer, for files and for the network."""
    return {"max_delay": str(_CLOCK_LEAD_MICROSECONDS)}
