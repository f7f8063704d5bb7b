"""What a recorded file holds, read from the file itself; and one that was cut off, made whole."""

import logging
import os
from pathlib import Path
from typing import Final

import av
from av.video.codeccontext import VideoCodecContext
from msgspec import Struct

from schemas.resources import VideoInfo
from services.publisher.mp4_fragments import boxes
from shared.netguard.libav import ANY_TEXT
from shared.recording_index import DEMUXERS

_log = logging.getLogger(__name__)

_MICROSECOND_NS = 1_000
_CLUSTER: Final = bytes.fromhex("1f43b675")  # RFC 9559, 5.1.3
_MAX_MATROSKA_HEADER_BYTES = 65_536  # before the first cluster: tracks with their parameter sets


class FileFigures(Struct, frozen=True, kw_only=True):
    """Of one file."""

    size_bytes: int = 0
    duration_ns: int = 0
    """From the first picture to the end of the last, sound included."""
    video: VideoInfo | None = None
    """None: nothing in it can be played."""


def read_figures(path: Path) -> FileFigures:
    """What `path` holds, after what a kill or a full disk left of an MP4 fragment is cut off; blocks.

    A file that is gone or not readable has figures of 0: that is told in the log.
    """
    try:
        if path.suffix == ".mp4":  # what is cut off of the others costs players nothing but itself
            cut_broken_end(path)
        size_bytes = path.stat().st_size
        with av.open(
            path, mode="r", format=DEMUXERS[path.suffix.removeprefix(".")], metadata_errors=ANY_TEXT
        ) as container:
            picture = container.streams.video[0]
            context: VideoCodecContext | None = picture.codec_context  # None: libav has no decoder for what it says
            if context is None:
                raise LookupError("it has no pictures of a known kind")
            return FileFigures(
                size_bytes=size_bytes,
                duration_ns=(container.duration or 0) * _MICROSECOND_NS,
                video=VideoInfo(
                    codec=context.name,
                    width=context.width,
                    height=context.height,
                    fps=float(picture.average_rate or 0),
                ),
            )
    except (OSError, av.FFmpegError, LookupError) as error:
        _log.warning("recording %s cannot be read: %s", path, error)
        return FileFigures()


def cut_broken_end(path: Path) -> None:
    """Shorten a fragmented MP4 to its last whole fragment.

    A fragment is a `moof` box with its `mdat`; whatever else is whole stays (ISO/IEC 14496-12, 4.2 and 8.8).

    Raises:
        OSError: the file cannot be read or changed.
    """
    with path.open("r+b", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        # A moof alone describes pictures that are not there.
        whole = max((position for kind, _, position in boxes(file.fileno()) if kind != b"moof"), default=0)
        if 0 < whole < end:  # what is no recording at all is left as it is
            _log.info("%s: %d bytes of an unfinished fragment are cut off", path, end - whole)
            file.truncate(whole)


def is_only_begun(path: Path) -> bool:
    """The muxer has written nothing yet, or no picture beside what it writes first; another file is none of its own.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size == 0:
            return True
        if path.suffix == ".mkv":
            return _CLUSTER not in file.read(_MAX_MATROSKA_HEADER_BYTES)
        if path.suffix != ".mp4":
            return False
        kinds = [kind for kind, _, _ in boxes(file.fileno())]
        return kinds[:1] == [b"ftyp"] and b"mdat" not in kinds
