"""From packets to playlists, headers, segments and parts, judged by ffprobe and by the rules of the format."""

import itertools
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from schemas.errors import BadRequest
from schemas.packets import PacketHeader, VideoCodec
from services.webrtc_gateway.hls import window as window_module
from services.webrtc_gateway.hls.header import make_header
from services.webrtc_gateway.hls.packager import Packager
from services.webrtc_gateway.hls.playlist import media_playlist, multivariant_playlist
from services.webrtc_gateway.hls.window import KEPT_SEGMENTS, LISTED_SEGMENTS, LiveWindow
from shared.media.configuration import configuration
from shared.media.mux import TrackParameters
from shared.media.scheduling import usual_scheduling
from tests.support.hls import Listed, attributes, broken_rules, read_playlist
from tests.support.packets import FPS, NANOSECONDS, Made, again, clip

pytestmark = pytest.mark.unit
_START_NS = 1_700_000_000 * NANOSECONDS
_FIRST = 1_000


@dataclass
class Packaged:
    """A packager and what it made."""

    window: LiveWindow = field(default_factory=LiveWindow)
    dropped: Counter[str] = field(default_factory=Counter)
    asked: int = 0

    def __post_init__(self) -> None:
        self.packager = Packager("cam0/main", self.window, _FIRST, self._ask, self.dropped)

    def _ask(self) -> None:
        self.asked += 1

    def take(self, packets: Iterable[Made]) -> "Packaged":
        for header, payload in packets:
            self.packager.take(header, memoryview(payload))
        return self

    @property
    def listed(self) -> Listed:
        return read_playlist(media_playlist(self.window, self.packager.next_part_number))

    def bytes(self) -> bytes:
        """Header and segments as one file."""
        header = self.window.headers[self.window.segments[-1].header_number].data
        return header + b"".join(bytes(part.data) for one in self.window.segments for part in one.parts)


def probe(path: Path, data: bytes) -> dict[str, dict[str, str]]:
    """What ffprobe counts of each stream by codec; nothing may be complained of, decoding included."""
    path.write_bytes(data)
    decoded = subprocess.run(
        ["ffmpeg", "-v", "warning", "-i", str(path), "-f", "null", "-"], capture_output=True, text=True, timeout=30
    )
    assert (decoded.returncode, decoded.stderr) == (0, "")
    shown = "stream=codec_name,start_time,nb_read_packets,duration"
    found = subprocess.run(
        ["ffprobe", "-v", "warning", "-count_packets", "-show_entries", shown, "-of", "json", str(path)],
        capture_output=True,
        timeout=30,
    )
    assert found.stderr == b""
    return {one["codec_name"]: one for one in msgspec.json.decode(found.stdout)["streams"]}


def test_a_clip_becomes_segments_and_parts(tmp_path: Path) -> None:
    packaged = Packaged().take(clip(9.0))
    listed = packaged.listed
    assert broken_rules(listed) == []
    assert [segment.seconds for segment in listed.whole] == [1.0, 1.0, 2.0, 2.0, 2.0], "short ones to begin with"
    assert listed.segments[-1].uri == "", "one is growing"
    assert [len(segment.parts) for segment in listed.segments] == [0, 0, 10, 10, 10, 4], "of three targets only"
    assert listed.whole[0].time_s == pytest.approx(_START_NS / NANOSECONDS)
    assert listed.hint == f"p{packaged.packager.next_part_number}.m4s"
    found = probe(tmp_path / "out.mp4", packaged.bytes())
    assert int(found["h264"]["nb_read_packets"]) == 8.8 * FPS
    assert float(found["h264"]["start_time"]) == 0
    assert abs(float(found["aac"]["duration"]) - 8.8) < 0.03, "sound reaches as far as the pictures"
    assert packaged.dropped.total() <= 1, "at most the sound before the first picture"


def test_the_multivariant_playlist_tells_what_decodes_it() -> None:
    packaged = Packaged().take(clip(4.0))
    text = multivariant_playlist(packaged.window, "main/index.m3u8")
    found = attributes(text.splitlines()[3].removeprefix("#EXT-X-STREAM-INF:"))
    assert found["CODECS"] == "avc1.42c00d,mp4a.40.2"
    assert (found["RESOLUTION"], found["FRAME-RATE"]) == ("320x240", "30.000")
    heaviest = max(8 * segment.size / segment.seconds for segment in packaged.window.segments if segment.complete)
    assert int(found["BANDWIDTH"]) >= heaviest > 0
    assert text.splitlines()[-1] == "main/index.m3u8"


def test_pictures_out_of_order_keep_their_times(tmp_path: Path) -> None:
    packets = clip(4.0, bframes=2, tracks=("video", "aac"))
    packaged = Packaged().take(packets)
    assert broken_rules(packaged.listed) == []
    (tmp_path / "b.mp4").write_bytes(packaged.bytes())
    with av.open(str(tmp_path / "b.mp4")) as container:
        shown = [frame.pts for frame in container.decode(video=0)][:-2]  # those after the last cut are to come
        time_base = container.streams.video[0].time_base
    assert shown == sorted(shown)
    assert time_base is not None
    steps = {round((after - before) * time_base * FPS, 3) for before, after in itertools.pairwise(shown)}
    assert steps == {1}, "every picture one step after the last"


@pytest.mark.parametrize("tracks", [("video", "opus"), ("video",)])
def test_other_sound_and_none(tmp_path: Path, tracks: tuple[str, ...]) -> None:
    packaged = Packaged()
    packaged.packager.expected = tracks
    packaged.take(clip(3.0, tracks=tracks))  # type: ignore[arg-type]
    assert broken_rules(packaged.listed) == []
    found = probe(tmp_path / "out.mp4", packaged.bytes())
    assert set(found) == {"h264", "opus"} if "opus" in tracks else {"h264"}
    assert packaged.window.header is not None
    assert packaged.window.header.codecs == ("avc1.42c00d,opus" if "opus" in tracks else "avc1.42c00d")


def test_a_new_producer_is_a_discontinuity_with_the_same_header(tmp_path: Path) -> None:
    packets = clip(3.0)
    packaged = Packaged().take(packets).take(again(packets, run=2, start_ns=_START_NS + 20 * NANOSECONDS))
    listed = packaged.listed
    assert broken_rules(listed) == []
    assert [segment.discontinuity_number for segment in listed.segments] == [0, 0, 0, 1, 1]
    assert {segment.header for segment in listed.segments} == {listed.segments[0].header}
    assert listed.segments[3].time_s - listed.segments[0].time_s == pytest.approx(20, abs=0.1), "the wall clock jumps"
    found = probe(tmp_path / "out.mp4", packaged.bytes())
    assert abs(float(found["h264"]["duration"]) - 5.8) < 0.1, "the pictures' clock does not"


def test_a_clock_set_back_is_a_discontinuity() -> None:
    packets = clip(3.0)
    packaged = Packaged().take(packets)
    later = again(packets, run=1, start_ns=_START_NS - 3_600 * NANOSECONDS)
    packaged.take(
        Made(msgspec.structs.replace(made.header, index=made.header.index + 1_000), made.payload) for made in later
    )
    assert [segment.discontinuity_number for segment in packaged.listed.segments] == [0, 0, 0, 1, 1]
    assert broken_rules(packaged.listed) == []


def test_pictures_of_another_size_have_another_header() -> None:
    packaged = Packaged().take(clip(3.0))
    packaged.take(clip(3.0, width=160, height=120, run=2, start_ns=_START_NS + 3 * NANOSECONDS))
    listed = packaged.listed
    headers = [segment.header for segment in listed.segments]
    assert headers[0] != headers[-1]
    assert [segment.discontinuity_number for segment in listed.segments] == [0, 0, 0, 1, 1]
    assert packaged.window.header is not None
    assert packaged.window.header.video.width == 160


def test_after_a_loss_pictures_go_on_at_a_key_picture(tmp_path: Path) -> None:
    packets = clip(4.0)
    lost = [made for made in packets if not (made.header.track == "video" and 40 <= made.header.index < 45)]
    packaged = Packaged().take(lost)
    assert packaged.asked > 0, "whoever can make a key picture is asked"
    assert packaged.dropped["gap"] == 1
    assert packaged.dropped["waiting_for_key"] == 15
    assert [segment.discontinuity_number for segment in packaged.listed.segments].count(0) == 2
    found = probe(tmp_path / "out.mp4", packaged.bytes())
    assert int(found["h264"]["nb_read_packets"]) == 40 + 2 * FPS - 6, "the last part is not cut yet"


def test_a_picture_that_stood_for_long_is_told_of_while_it_is_listed() -> None:
    packets = clip(9.0, tracks=("video",))
    stood_ns = NANOSECONDS // 2
    shifted = again(packets, run=1, start_ns=packets[0].header.pts_ns + stood_ns)
    later = [late if late.header.index >= 45 else made for made, late in zip(packets, shifted, strict=True)]
    packaged = Packaged().take(later[:75])
    listed = packaged.listed
    assert listed.part_target_seconds > 0.5
    assert {rule.partition(" is ")[2] for rule in broken_rules(listed)} == {"too short"}
    packaged.take(later[75:])
    assert packaged.listed.part_target_seconds < 0.25
    assert broken_rules(packaged.listed) == []


def test_sound_that_ends_does_not_stay_in_the_header() -> None:
    silent_from_ns = _START_NS + 2 * NANOSECONDS
    packets = [made for made in clip(9.0) if made.header.track == "video" or made.header.pts_ns < silent_from_ns]
    packaged = Packaged().take(packets)
    assert packaged.window.header is not None
    assert packaged.window.header.codecs == "avc1.42c00d", "players would wait for the sound"
    assert packaged.listed.segments[-1].discontinuity_number == 1


def test_what_is_replayed_is_taken_once() -> None:
    packets = clip(3.0)
    twice = Packaged().take(packets[:100]).take(packets)
    assert [segment.seconds for segment in twice.listed.whole] == [1.0, 1.0]


def test_a_codec_that_no_browser_plays_is_refused() -> None:
    header, payload = clip(1.0, tracks=("video",))[0]
    packaged = Packaged().take([Made(msgspec.structs.replace(header, codec="mjpeg"), payload)])
    assert packaged.window.failed == (
        "cam0/main cannot be played over HLS: its codec is mjpeg; choose a rendition with h264, hevc, av1 or vp9"
    )


def test_parameters_that_nobody_understands_are_an_error() -> None:
    with pytest.raises(BadRequest, match="the parameters of av1 are not understood"):
        make_header(TrackParameters("video", "av1", b"\xff\xff", width=320, height=180), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pts_ns": 1 << 62},
        {"pts_ns": -(1 << 62), "dts_ns": -(1 << 62)},
        {"duration_ns": 1 << 62},
        {"sample_rate": 1 << 40},
        {"extradata": b"\xff" * 40},
        {"width": 1 << 40},
        {"channels": 1 << 20},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_impossible_values_harm_nobody(wrong: dict[str, object]) -> None:
    packets = clip(4.0)
    spoilt = [
        Made(msgspec.structs.replace(made.header, **wrong), made.payload) if 60 <= number < 200 else made
        for number, made in enumerate(packets)
    ]
    packaged = Packaged().take(spoilt)
    assert packaged.window.segments[-1].parts, "what comes after is played"
    assert packaged.window.header is not None
    assert packaged.window.header.codecs.startswith("avc1.42c00d")


def test_memory_is_bounded() -> None:
    packets = clip(3.0, tracks=("video",), width=160, height=120)
    packaged = Packaged()
    for run in range(KEPT_SEGMENTS):
        packaged.take(again(packets, run=run + 1, start_ns=_START_NS + run * 60 * NANOSECONDS))
    assert len(packaged.window.segments) <= KEPT_SEGMENTS + 1
    listed = packaged.listed
    assert len(listed.segments) == LISTED_SEGMENTS + 1
    assert listed.segments[-1].discontinuity_number == KEPT_SEGMENTS - 1, "those that are gone are counted"
    gone = listed.segments[0].number - LISTED_SEGMENTS - 2
    assert packaged.window.segment(gone) is None
    assert packaged.window.segment(listed.segments[0].number - 1) is not None, "players may still be loading it"


def test_a_segment_that_nothing_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "MAX_SEGMENT_SECONDS", 1.0)
    packaged = Packaged().take(clip(4.0, tracks=("video",), key_every=1_000))
    assert len(packaged.window.segments) == 1
    assert packaged.window.segments[0].complete
    assert packaged.window.segments[0].seconds == pytest.approx(1.2, abs=0.2)
    assert packaged.dropped["segment_too_long"] == 1
    assert packaged.dropped["waiting_for_key"] > 0


def test_what_a_blocked_reload_waits_for() -> None:
    packaged = Packaged().take(clip(4.0, tracks=("video",)))
    window, last = packaged.window, packaged.window.segments[-1]
    before = window.segments[-2]
    assert window.has(before.number, None)
    assert not window.has(last.number, None), "it is still growing"
    assert window.has(last.number, len(last.parts) - 1)
    assert not window.has(last.number, len(last.parts))
    assert window.has(before.number, 99), "beyond its end: the first of the next one"
    assert not window.has(last.number + 1, 0)


_ENCODERS: dict[VideoCodec, tuple[str, dict[str, str], str]] = {
    "hevc": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:repeat-headers=1"},
        "hvc1.1.6.L",
    ),
    "av1": ("libsvtav1", {"preset": "12"}, "av01.0.0"),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}, "vp09.00."),
}


@pytest.mark.parametrize("codec", sorted(_ENCODERS))
def test_other_codecs(tmp_path: Path, codec: VideoCodec) -> None:
    name, options, prefix = _ENCODERS[codec]
    packaged = Packaged()
    packaged.packager.expected = ("video",)
    packaged.take(encoded(codec, name, options))
    assert broken_rules(packaged.listed) == []
    assert packaged.window.header is not None
    assert packaged.window.header.codecs.startswith(prefix)
    found = probe(tmp_path / "out.mp4", packaged.bytes())
    assert int(found[codec]["nb_read_packets"]) >= FPS


def encoded(codec: VideoCodec, encoder: str, options: dict[str, str]) -> list[Made]:
    """Two seconds of small pictures in another codec."""
    context = VideoCodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = 320, 180, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, FPS), Fraction(FPS), FPS
    context.options = options
    with usual_scheduling():
        context.open()
    packets = []
    for number in range(2 * FPS):
        picture = np.full((270, 320), 128, np.uint8)
        picture[:180] = (np.arange(320) + number * 4) % 256
        frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        packets += context.encode(frame)
    packets += context.encode(None)
    made = []
    for index, packet in enumerate(packets):
        payload, pts, dts = bytes(packet), packet.pts, packet.dts
        assert pts is not None
        assert dts is not None
        header = PacketHeader(
            stream="cam0",
            rendition="main",
            track="video",
            codec=codec,
            epoch=1,
            sequence=index + 1,
            run=1,
            index=index,
            key=packet.is_keyframe,
            pts_ns=_START_NS + pts * NANOSECONDS // FPS,
            dts_ns=_START_NS + dts * NANOSECONDS // FPS,
            duration_ns=NANOSECONDS // FPS,
            captured_ns=_START_NS + pts * NANOSECONDS // FPS,
            width=320,
            height=180,
            extradata=configuration(payload, codec) if packet.is_keyframe else b"",
        )
        made.append(Made(header, payload))
    return made
