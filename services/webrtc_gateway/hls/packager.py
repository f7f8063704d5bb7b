"""Packets of one rendition in, fragments of MP4 out: parts, and segments that begin with a key picture.

Nothing is decoded or encoded and nothing waits, so it runs in the event loop: 1.3 ms of CPU per megabyte, 0.16 % of a
core for 10 Mbit/s; the longest turn is the end of a segment, 1.5 ms at that rate (two cores of an x86 server).
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from schemas.errors import BadRequest
from schemas.packets import PacketHeader
from schemas.units import NS_PER_SECOND
from services.webrtc_gateway.hls.fragments import Sample, TrackRun, write_fragment
from services.webrtc_gateway.hls.header import AUDIO_TRACKS, VIDEO_CODECS, make_header
from services.webrtc_gateway.hls.samples import sample_data
from services.webrtc_gateway.hls.sound import Sound
from services.webrtc_gateway.hls.timeline import (
    DEFAULT_PICTURE_NS,
    LONGEST_PICTURE_NS,
    SLOWEST_PICTURE_NS,
    VIDEO_CLOCK_HZ,
    Timeline,
    ticks,
)
from services.webrtc_gateway.hls.window import SEGMENT_SECONDS, LiveWindow, Part, Segment
from shared.media.mux import TrackParameters

logger = logging.getLogger(__name__)

_VIDEO_TRACK_ID: Final = 1
PART_SECONDS: Final = 0.2
"""At least, of a part: players stay three parts behind, and each part is a request."""
# RFC 8216bis, 4.4.4.9: a part has at least 85 % of the target, and never more than it. What a camera's clock
# wobbles must fit between.
_PART_SLACK: Final = 1.1
_LEAST_PART: Final = 0.85
# The first segments are short, where key pictures come when asked for: players need whole ones to begin with.
_FIRST_SEGMENTS_SECONDS: Final = (0.5, 1.0)
# A group of pictures that ends this much early still ends a segment: rates and clocks are not exact.
_EARLY_SECONDS: Final = 0.1
_ASK_SECONDS: Final = 0.5  # between two requests for a key picture, of which one may get lost
# From the first key picture on: so long a beginning waits for sound, and for the preferred of two tracks.
_OPENING_NS: Final = NS_PER_SECOND // 2
_MAX_OPENING_PACKETS: Final = 4_096
_SILENT_NS: Final = 2 * NS_PER_SECOND  # a track without sound for so long would hold the pictures up in players


class _Picture(NamedTuple):
    """The latest, whose duration its successor tells."""

    header: PacketHeader
    data: bytes | memoryview


class Packager:
    """Fills a `LiveWindow`; `ask_for_key` is called when a key picture would end a segment or a wait."""

    def __init__(
        self, name: str, window: LiveWindow, first_number: int, ask_for_key: Callable[[], None], dropped: Counter[str]
    ) -> None:
        """`name`: of the rendition, for messages; `first_number`: of segments, as the window's."""
        self.name, self.window = name, window
        self.expected: Collection[str] = ()
        """Tracks of the rendition, as far as anybody knows."""
        self.next_part_number = first_number * _PART_NUMBERS
        self._next_segment_number = first_number
        self._next_header_number = first_number
        self._fragment_number = 0
        self._ask_for_key, self._dropped = ask_for_key, dropped
        self._timeline, self._sound = Timeline(), Sound(dropped)
        self._last: tuple[int, int] | None = None
        self._wait_for_key = True
        self._video: TrackParameters | None = None
        self._picture: _Picture | None = None
        self._samples: list[Sample] = []
        self._part_start_ns = 0
        """On the timeline, as are the next two."""
        self._segment_start_ns = 0
        self._begun_ns = 0
        self._part_target_seconds = 0.0
        self._asked = False
        self._asked_s = float("-inf")
        self._segments = 0
        self._header_sound: TrackParameters | None = None
        self._opening: list[tuple[PacketHeader, memoryview]] | None = []

    def take(self, header: PacketHeader, payload: memoryview) -> None:
        """One access unit."""
        if self.window.failed:
            return
        if header.track != "video":
            self._sound.take(header, payload)
            self._open()
            return
        if header.codec not in VIDEO_CODECS:
            self._fail(f"its codec is {header.codec}")
            return
        last, self._last = self._last, (header.run, header.index)
        if last is not None and last[0] == header.run and header.index <= last[1]:
            self._last = last  # once from the cache and once live
            return
        if last is not None and self._last != (last[0], last[1] + 1):
            self._dropped["gap"] += 1
            if self._opening is None:
                self._break_off()
            else:
                self._opening.clear()
        if self._opening is None:
            self._take_in(header, payload)
            return
        if self._opening or header.key:
            self._opening.append((header, payload))
        else:
            self._dropped["waiting_for_key"] += 1
            self._ask()
        self._open()

    def _open(self) -> None:
        """Begin, once the sound is known, or is late."""
        held = self._opening
        if not held:
            return
        silent = bool(self.expected) and not set(AUDIO_TRACKS) & set(self.expected)
        offered = self._sound.offered()
        settled = silent or (offered is not None and offered.track == AUDIO_TRACKS[0])
        waited = held[-1][0].dts_ns - held[0][0].dts_ns >= _OPENING_NS or len(held) >= _MAX_OPENING_PACKETS
        if settled or waited:
            self._opening = None
            for header, payload in held:
                self._take_in(header, payload)

    def _take_in(self, header: PacketHeader, payload: memoryview) -> None:
        try:
            self._take_picture(header, payload)
        except BadRequest as error:
            logger.debug("%s: %s", self.name, error)
            self._dropped["malformed"] += 1
            self._break_off()

    def _take_picture(self, header: PacketHeader, payload: memoryview) -> None:
        if max(abs(header.pts_ns - header.dts_ns), header.duration_ns) > SLOWEST_PICTURE_NS:
            raise BadRequest("a picture with impossible times")
        before = self._picture
        if before is not None:
            step_ns = header.dts_ns - before.header.dts_ns
            longest_ns = max(LONGEST_PICTURE_NS, 3 * before.header.duration_ns)
            if not 0 < step_ns <= longest_ns:  # the producer's clock was set, or it stood still
                self._break_off()
                before = None
        if self._wait_for_key and not header.key:
            self._dropped["waiting_for_key"] += 1
            self._ask()
            return
        data = sample_data(header, payload)
        if before is not None:
            self._end_picture(before, header.dts_ns - before.header.dts_ns)
        if header.key:
            self._key_picture(header)
        elif self._part_seconds >= _LEAST_PART * self._part_target_seconds:
            self._finish_part()
            if self.window.overfull:
                self._dropped["segment_too_long"] += 1
                self._break_off()
                return
        self._picture = _Picture(header, data)
        self._want_key()

    def _key_picture(self, header: PacketHeader) -> None:
        """Go on, or begin another segment, with another header where need be."""
        parameters = TrackParameters.from_header(header)
        if parameters is None and self._video is None:
            raise BadRequest("a key picture without its codec's configuration")
        parameters = parameters or self._video
        assert parameters is not None
        began = self._wait_for_key
        if not began and header.pts_ns - self._sound.arrived_ns > _SILENT_NS:
            self._sound.forget()
        changed = parameters != self._video or self._sound.offered() != self._sound.track
        if not (began or changed) and self._segment_seconds < self._wanted_seconds - _EARLY_SECONDS:
            if self._part_seconds >= _LEAST_PART * self._part_target_seconds:
                self._finish_part()
            return
        self._finish_segment()
        if began or changed:
            if began:
                self._timeline.begin(header.dts_ns)
                self._sound.begin(header.pts_ns)
            self._begun_ns = self._timeline.at(header.dts_ns)
            self._begin_run(parameters, header)
        number, self._next_segment_number = self._next_segment_number, self._next_segment_number + 1
        self._segment_start_ns = self._part_start_ns = self._timeline.at(header.dts_ns)
        self._asked = False
        self.window.begin(
            Segment(
                number=number,
                header_number=self._next_header_number - 1,
                captured_ns=header.captured_ns,
                discontinuity=(began or changed) and bool(self.window.segments),
            )
        )

    def _begin_run(self, parameters: TrackParameters, header: PacketHeader) -> None:
        self._wait_for_key = False
        self._sound.choose(self._sound.offered())
        if parameters != self._video or self._header_sound != self._sound.track or not self.window.headers:
            self.window.headers[self._next_header_number] = make_header(parameters, self._sound.track)
            self._next_header_number += 1
        self._video, self._header_sound = parameters, self._sound.track
        if not self._part_target_seconds:
            picture_s = (header.duration_ns or DEFAULT_PICTURE_NS) / NS_PER_SECOND
            pictures = math.ceil(PART_SECONDS / picture_s - 1e-6)
            self._part_target_seconds = self.window.part_target_seconds = pictures * picture_s * _PART_SLACK

    @property
    def _part_seconds(self) -> float:
        return (self._timeline.end_ns - self._part_start_ns) / NS_PER_SECOND if self._samples else 0.0

    @property
    def _segment_seconds(self) -> float:
        return (self._timeline.end_ns - self._segment_start_ns) / NS_PER_SECOND

    @property
    def _wanted_seconds(self) -> float:
        first = self._segments < len(_FIRST_SEGMENTS_SECONDS)
        return _FIRST_SEGMENTS_SECONDS[self._segments] if first else SEGMENT_SECONDS

    def _want_key(self) -> None:
        """Whoever makes key pictures when asked makes one where a segment should end."""
        if not self._asked and self._segment_seconds >= self._wanted_seconds:
            self._asked = True
            self._ask()

    def _end_picture(self, picture: _Picture, duration_ns: int) -> None:
        header = picture.header
        start_ns = self._timeline.at(header.dts_ns)
        end_ns = start_ns + duration_ns
        start, end = ticks(start_ns, VIDEO_CLOCK_HZ), ticks(end_ns, VIDEO_CLOCK_HZ)
        shown = ticks(self._timeline.at(header.pts_ns), VIDEO_CLOCK_HZ)
        self._samples.append(Sample(picture.data, end - start, shown - start, header.key))
        self._timeline.end_ns = end_ns
        self._picture = None

    def _break_off(self) -> None:
        """What comes does not follow on what came: end what there is, and wait for a key picture."""
        picture = self._picture
        if picture is not None:
            self._end_picture(picture, picture.header.duration_ns or DEFAULT_PICTURE_NS)
        if not self._wait_for_key:
            self._finish_segment()
            self._wait_for_key = True
        self._ask()

    def _finish_segment(self) -> None:
        last = self.window.last
        if last is None or last.complete:
            return
        self._finish_part()
        if last.parts:
            self.window.finish()
            self._segments += 1
        else:
            self.window.segments.pop()

    def _finish_part(self) -> None:
        if not self._samples:
            return
        start_ns, end_ns = self._part_start_ns, self._timeline.end_ns
        samples, self._samples = self._samples, []
        runs = [TrackRun(_VIDEO_TRACK_ID, ticks(start_ns, VIDEO_CLOCK_HZ), samples, video=True)]
        sound = self._sound.run(self._timeline, self._begun_ns, end_ns)
        if sound is not None:
            runs.append(sound)
        self._fragment_number += 1
        number, self.next_part_number = self.next_part_number, self.next_part_number + 1
        self._part_start_ns = end_ns
        self.window.add(
            Part(
                number=number,
                seconds=(end_ns - start_ns) / NS_PER_SECOND,
                independent=any(sample.key for sample in samples),
                data=write_fragment(self._fragment_number, runs),
            )
        )

    def _ask(self) -> None:
        now_s = time.monotonic()
        if now_s - self._asked_s >= _ASK_SECONDS:
            self._asked_s = now_s
            self._ask_for_key()

    def _fail(self, why: str) -> None:
        self.window.failed = (
            f"{self.name} cannot be played over HLS: {why}; choose a rendition with h264, hevc, av1 or vp9"
        )
        self.window.wake()


# Parts have numbers of their own, which must not come again either: more than there are parts in a segment of one
# second, as first numbers are seconds.
_PART_NUMBERS: Final = 10
