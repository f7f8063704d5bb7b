"""The sound between the pictures: samples that wait for the part they belong to."""

from collections import Counter, deque
from typing import Final, NamedTuple

from schemas.packets import PacketHeader, Track
from schemas.units import NS_PER_SECOND
from services.webrtc_gateway.hls.fragments import Sample, TrackRun
from services.webrtc_gateway.hls.header import AUDIO_TRACKS
from services.webrtc_gateway.hls.timeline import Timeline, ticks
from shared.media.mux import TrackParameters

_AUDIO_TRACK_ID: Final = 2
_MAX_WAITING: Final = 512  # 10 s of sound; more is sound without pictures
# Of Opus; AAC's frames are 1024 samples. For a last packet whose successor is not there yet.
_OPUS_PACKET_NS: Final = 20_000_000
_AAC_FRAME_SAMPLES: Final = 1_024
_MAX_SAMPLE_RATE: Final = 192_000
_MAX_SKEW_NS: Final = 5 * NS_PER_SECOND
# Between packets more is a hole; players bridge one by the next fragment's own time.
_LONGEST_PACKET_NS: Final = 200_000_000


class _Waiting(NamedTuple):
    time_ns: int
    """On the timeline."""
    data: memoryview


class Sound:
    """One audio track at a time: AAC where the rendition has it, else Opus."""

    def __init__(self, dropped: Counter[str]) -> None:
        self._dropped = dropped
        self._known: dict[Track, TrackParameters] = {}
        self._last: dict[Track, tuple[int, int]] = {}
        self._waiting: deque[tuple[PacketHeader, memoryview]] = deque(maxlen=_MAX_WAITING)
        self.track: TrackParameters | None = None
        """What the header has."""
        self.arrived_ns = 0
        """Up to where there is sound, on the producer's clock."""
        self._next_ns = 0

    def offered(self) -> TrackParameters | None:
        """What a header made now should have: the track that there is, or the preferred one."""
        if self.track is not None and self.track.track in self._known:
            return self._known[self.track.track]
        return next((self._known[name] for name in AUDIO_TRACKS if name in self._known), None)

    def choose(self, track: TrackParameters | None) -> None:
        """The header's track from here on; what waits of another one goes."""
        self.track = track
        if track is None:
            self._waiting.clear()
        else:
            self._waiting = deque((one for one in self._waiting if one[0].track == track.track), _MAX_WAITING)

    def begin(self, pts_ns: int) -> None:
        """Pictures begin anew here on the producer's clock: what is far from it was of another time."""
        near = (one for one in self._waiting if abs(one[0].pts_ns - pts_ns) < _MAX_SKEW_NS)
        self._waiting = deque(near, _MAX_WAITING)

    def forget(self) -> None:
        """No sound has come for long: a header made now has none, until some comes."""
        self._known.clear()

    def take(self, header: PacketHeader, payload: memoryview) -> None:
        place = (header.run, header.index)
        last = self._last.get(header.track)
        if last is not None and last[0] == header.run and header.index <= last[1]:
            return  # once from the cache and once live
        self._last[header.track] = place
        parameters = TrackParameters.from_header(header)
        if parameters is not None and parameters.sample_rate <= _MAX_SAMPLE_RATE:
            self._known[header.track] = parameters
        wanted = self.track or self.offered()
        if wanted is None or wanted.track != header.track:
            return
        self.arrived_ns = header.pts_ns
        if len(self._waiting) == _MAX_WAITING:
            self._dropped["sound_without_pictures"] += 1
        self._waiting.append((header, payload))

    def run(self, timeline: Timeline, start_ns: int, end_ns: int) -> TrackRun | None:
        """The sound that begins before `end_ns` of the timeline; what is from before `start_ns` of a beginning goes."""
        track = self.track
        if track is None:
            return None
        taken: list[_Waiting] = []
        while self._waiting:
            header, data = self._waiting[0]
            time_ns = timeline.at(header.pts_ns)
            if time_ns >= end_ns:
                break
            self._waiting.popleft()
            if time_ns < max(start_ns, self._next_ns - _OPUS_PACKET_NS // 2):
                self._dropped["sound_out_of_time"] += 1
                continue
            taken.append(_Waiting(time_ns, data))
        if not taken:
            return None
        rate = track.sample_rate
        usual_ns = _OPUS_PACKET_NS if track.track == "opus" else _AAC_FRAME_SAMPLES * NS_PER_SECOND // rate
        times = [ticks(one.time_ns, rate) for one in taken]
        following_ns = timeline.at(self._waiting[0][0].pts_ns) if self._waiting else taken[-1].time_ns + usual_ns
        if not 0 < following_ns - taken[-1].time_ns <= _LONGEST_PACKET_NS:
            following_ns = taken[-1].time_ns + usual_ns
        self._next_ns = following_ns
        times.append(ticks(following_ns, rate))
        samples = [
            Sample(one.data, max(1, after - before))
            for one, before, after in zip(taken, times, times[1:], strict=False)
        ]
        return TrackRun(_AUDIO_TRACK_ID, times[0], samples, video=False)
