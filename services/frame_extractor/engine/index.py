"""When every picture of a video is shown, and what is needed to decode it: one pass over its packets."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from schemas.errors import MeshError
from services.frame_extractor.engine.coding import Coding
from services.frame_extractor.engine.errors import VideoError
from services.frame_extractor.engine.limits import Halt, Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.packets import packets_of
from shared.netguard import TooLong

Longs = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]

NO_TIME = -(1 << 63)
"""libav's AV_NOPTS_VALUE."""
_MAX_REORDER = 16  # pictures: of H.264 and H.265 at any level
_FALLBACK_RATE = Fraction(25)  # of a video that says nothing of time at all
_SET_BACK_S = 0.05  # more than pictures last: less is a muxer that miscounts, and no clock that was set back
_LOOK_PACKETS = 256  # between two looks at the clock
# Whose decoders show nothing before the first key picture, nor what is shown before that: of a recording that was cut
# anywhere, as a broadcast's is, the video begins there.
_SHOW_FROM_KEY = frozenset(("h264", "hevc", "mpeg1video", "mpeg2video", "vp8", "vp9", "av1", "libdav1d"))


@dataclass(frozen=True)
class Index:
    """Packets in the order of decoding, pictures in the order of time."""

    time_base: Fraction
    pts: Longs
    """Of each packet, in `time_base`, without jumps back."""
    shift: Longs
    """What was added to the packet's own `pts` for that."""
    dts: Longs
    """As the packets have it."""
    size: Longs
    """Bytes."""
    entry: Marks
    disposable: Marks
    careful: bool
    """Packets and pictures need not be the same, or have the same time: the decoder is fed all of them."""
    numbered: bool
    """Pictures have no time of their own: they are told by their number."""
    picture_packet: Longs
    """Of each picture; when `numbered` nothing to go by."""
    picture_pts: Longs
    """Of each picture, in `time_base`, sorted."""
    duration_s: float
    duration_told: bool
    """The container says how long it is."""
    reorder_depth: int
    """Pictures that the decoder holds back to bring them into order."""
    width: int
    height: int
    codec: str
    note: str
    """Why the pass ended early; empty: it did not."""

    def seconds(self, pts: int) -> float:
        """From the first picture on."""
        return float((pts - int(self.picture_pts[0])) * self.time_base)


def read_index(
    video: OpenVideo, limits: Limits, halt: Halt, outline: Callable[[], InputContainer] | None = None
) -> Index:
    """`outline` opens it with zeros for the content of its packets.

    Raises:
        VideoError: no video, too large, too long, or not one packet.
    """
    with video.opened(halt, outline) as (container, stream):
        limits.check_size(stream.codec_context.width, stream.codec_context.height)
        coding = Coding(stream, content=outline is None)
        packets, note = _read_packets(video, container, stream, coding, halt)
        halt.check_time()
        if packets is None:
            raise VideoError("video", f"{video.name} has no pictures in it")
        pts, dts, size, durations, entry, disposable, layer, discard = packets
        told = container.duration is not None or stream.duration is not None
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or _FALLBACK_RATE
        time_base = stream.time_base or 1 / rate
        begin = int(entry.argmax()) if coding.codec in _SHOW_FROM_KEY else 0
        entry[0] = True
        disposable &= layer == layer.max()
        timed = pts != NO_TIME
        shift = _shift(dts, durations, time_base)
        pts[timed] += shift[timed]
        # Second fields may come without a time; anything else without one has no order of time but the decoder's.
        numbered = not timed.all() and not (coding.fields and timed[0] and 2 * timed.sum() >= len(pts))
        shown = np.ones(len(pts), np.bool_) if numbered else ~discard & timed
        if not numbered and begin and timed[begin]:
            shown &= pts >= pts[begin]
        if not shown.any():
            raise VideoError("video", f"{video.name} has no pictures that are shown")
        if numbered:
            timed_dts = dts[dts != NO_TIME]
            if len(timed_dts) == len(pts) and len(set(timed_dts.tolist())) == len(pts):
                picture_pts = np.sort(timed_dts)
            else:
                time_base, picture_pts = 1 / rate, np.arange(len(pts), dtype=np.int64)
                durations = np.ones(len(pts), np.int64)
            picture_packet = np.arange(len(pts), dtype=np.int64)
        else:
            of_shown = np.flatnonzero(shown)
            picture_packet = of_shown[np.argsort(pts[of_shown], kind="stable")]
            picture_pts = pts[picture_packet]
        duration = int(picture_pts[-1] - picture_pts[0]) + _last_duration(picture_pts, durations[picture_packet])
        duration_s = float(duration * time_base)
        limits.check_duration(duration_s)
        return Index(
            time_base=time_base,
            pts=pts,
            shift=shift,
            dts=dts,
            size=size,
            entry=entry,
            disposable=disposable,
            careful=coding.fields or numbered or not np.diff(picture_pts).all(),
            numbered=numbered,
            picture_packet=picture_packet,
            picture_pts=picture_pts,
            duration_s=duration_s,
            duration_told=told,
            reorder_depth=max(stream.codec_context.reorder_depth, _reorder_depth(pts)),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            codec=stream.codec_context.codec.canonical_name,
            note=note,
        )


class _Packets(NamedTuple):
    """Of each packet that has content, in the order of the file; times in the stream's units, NO_TIME without one."""

    pts: Longs
    dts: Longs
    size: Longs
    durations: Longs
    entry: Marks
    disposable: Marks
    layer: Longs
    discard: Marks


def _read_packets(
    video: OpenVideo, container: InputContainer, stream: VideoStream, coding: Coding, halt: Halt
) -> tuple[_Packets | None, str]:
    """And why it ends early; None where there is not one.

    Raises:
        VideoError: nothing can be read, or it is too long.
    """
    rows: list[tuple[int, int, int, int, bool, bool, int, bool]] = []
    note = ""
    try:
        for packet in packets_of(container, stream):
            if not len(rows) % _LOOK_PACKETS and halt.is_set():
                break
            if not packet.size:
                continue
            look = coding.look(packet)
            rows.append(
                (
                    NO_TIME if packet.pts is None else packet.pts,
                    NO_TIME if packet.dts is None else packet.dts,
                    packet.size,
                    packet.duration or 0,
                    look.entry,
                    look.disposable,
                    look.layer,
                    packet.is_discard,
                )
            )
    except MemoryError:  # of this machine, not of the video
        raise
    except (MeshError, av.FFmpegError, OSError) as error:
        if not rows or isinstance(error, TooLong):  # a limit is no damage
            raise video.explain(error) from None
        note = f"after {len(rows)} packets it cannot be read: {video.explain(error).message}"
    if not rows:
        return None, note
    pts, dts, size, durations, layer = (np.array([row[place] for row in rows], np.int64) for place in (0, 1, 2, 3, 6))
    entry, disposable, discard = (np.array([row[place] for row in rows], np.bool_) for place in (4, 5, 7))
    return _Packets(pts, dts, size, durations, entry, disposable, layer, discard), note


def _last_duration(picture_pts: Longs, durations: Longs) -> int:
    """How long the last picture is shown: as its packet says, else as long as the others on average."""
    if durations[-1] > 0:
        return int(durations[-1])
    count = len(picture_pts) - 1
    return round(int(picture_pts[-1] - picture_pts[0]) / count) if count else 0


def _shift(dts: Longs, durations: Longs, time_base: Fraction) -> Longs:
    """What makes times go on where the clock was set back: where recordings were joined."""
    shift = np.zeros(len(dts), np.int64)
    known = np.flatnonzero(dts != NO_TIME)
    for place in np.flatnonzero(np.diff(dts[known]) < -_SET_BACK_S / float(time_base)):
        before, after = known[place], known[place + 1]
        shift[after:] += dts[before] + max(1, durations[before]) - dts[after]
    return shift


def _reorder_depth(pts: Longs) -> int:
    """The most packets that come before one that is shown before them."""
    depth = np.zeros(len(pts), np.int64)
    for distance in range(1, min(_MAX_REORDER, len(pts) - 1) + 1):
        depth[distance:] += pts[:-distance] > pts[distance:]
    return min(_MAX_REORDER, int(depth.max()))
