"""Layers of a publisher: what signalling names, which packet is of which, and which of them is `source`."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import BadRequest
from schemas.resources import LayerInfo
from services.capture.sources.ingest_layers import Layer, LayerReport, Layers
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.layer_sorter import LayerSorter
from services.webrtc_gateway.ingest.media_time import PublisherClock
from services.webrtc_gateway.ingest.rtp_packet import RtpPacket
from services.webrtc_gateway.ingest.simulcast import layer_names, offered_rids
from services.webrtc_gateway.ingest.terms import LayerTerms, TrackTerms
from services.webrtc_gateway.ingest.track import ReceivingTrack
from tests.support.rtp_sender import CLOCK_HZ, PAYLOAD_TYPE

pytestmark = pytest.mark.unit
RID_ID, REPAIRED_ID, RTX_TYPE = 10, 11, PAYLOAD_TYPE + 1
MS = 1_000_000
FRAME_NS = 40 * MS


def section(*lines: str) -> str:
    return "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n" + "\r\n".join(lines)


def sent(*rids: str) -> list[str]:
    return [f"a=rid:{rid} send" for rid in rids]


@pytest.mark.parametrize(
    ("lines", "rids"),
    [
        ([*sent("r0", "r1", "r2"), "a=simulcast:send r0;r1;r2"], ("r0", "r1", "r2")),
        ([*sent("r0", "r1"), "a=simulcast:recv x send r1;~r0"], ("r1", "r0")),
        ([*sent("a", "b", "c"), "a=simulcast:send a,b;c;c"], ("a", "c")),
        ([*sent("a"), "a=rid:b recv", "a=simulcast:send a;b;z"], ("a",)),
        ([*sent("a", "b"), "a=simulcast:send"], ()),
        ([*sent("a", "b"), "a=simulcast:"], ()),
        (["a=rid:", "a=rid:a", "a=simulcast:send a"], ()),
    ],
)
def test_layers_are_those_that_are_named_and_sent(lines: list[str], rids: tuple[str, ...]) -> None:
    assert offered_rids(section(*lines)) == {"1": rids}
    assert offered_rids(section(*lines[:-1])) == {}


@pytest.mark.parametrize("rid", ["x" * 300, "x" * 17, "ä", "a.b", ""])
def test_a_rid_that_is_none_is_refused(rid: str) -> None:
    text = section(*sent(rid, "b"), f"a=simulcast:send {rid};b")
    if not rid:
        assert offered_rids(text)["1"] == ("b",)
        return
    with pytest.raises(BadRequest, match="use 1-16 letters") as refused:
        offered_rids(text)
    assert len(str(refused.value)) < 120


def test_renditions_are_named_after_rids_unless_the_name_has_a_meaning() -> None:
    assert layer_names(("r0", "R_1", "r2")) == {"r0": "r0", "R_1": "r-1", "r2": "r2"}
    assert layer_names(("source", "vp8", "__")) == {"source": "layer-source", "vp8": "layer-vp8", "__": "layer"}
    assert layer_names(("a-b", "a_b", "A-B")) == {"a-b": "a-b", "a_b": "layer-a-b", "A-B": "layer-a-b-2"}
    assert layer_names(("r0", "r1"), taken={"r0"}) == {"r0": "layer-r0", "r1": "r1"}


class Sorting:
    def __init__(self) -> None:
        self.counters = IngestCounters()
        terms = LayerTerms({"r0": "r0", "r1": "r1"}, RID_ID, REPAIRED_ID)
        track = TrackTerms("video", "vp8", "1", PAYLOAD_TYPE, CLOCK_HZ, RTX_TYPE, layers=terms)
        self.tracks = {
            rid: ReceivingTrack(track, PublisherClock(), self.counters, lambda unit: None, rid) for rid in ("r0", "r1")
        }
        self.sorter = LayerSorter(terms, self.tracks, self.counters)

    def layer_of(self, ssrc: int, extensions: dict[int, bytes] | None = None, kind: int = PAYLOAD_TYPE) -> str | None:
        packet = RtpPacket(kind, False, 1, 1, ssrc, b"\0\0x", extensions or {})
        track = self.sorter.find(packet)
        return track.rendition if track else None


def test_packets_are_of_the_layer_that_their_first_named() -> None:
    sorting = Sorting()
    assert sorting.layer_of(7) is None, "a probe, before anything is known"
    assert sorting.layer_of(7, {RID_ID: b"r1"}) == "r1"
    assert sorting.layer_of(8, {RID_ID: b"r0"}) == "r0"
    assert sorting.layer_of(9, {REPAIRED_ID: b"r1"}, RTX_TYPE) == "r1"
    assert [sorting.layer_of(ssrc) for ssrc in (7, 8, 9)] == ["r1", "r0", "r1"]
    assert sorting.layer_of(7, {RID_ID: b"r0"}) == "r1", "what an SSRC was first said to be it stays"
    assert sorting.counters.drops == {"unknown_layer": 1}


def test_rids_that_nobody_agreed_on_are_left_out_and_counted() -> None:
    sorting = Sorting()
    for rid in (b"r2", b"", b"r" * 300, b"\xff\x00", b"R0"):
        assert sorting.layer_of(5, {RID_ID: rid}) is None
    found = [sorting.layer_of(100 + number, {RID_ID: b"r0"}) for number in range(64)]
    assert found.count("r0") == 16
    assert found[16:] == [None] * 48
    assert sorting.counters.drops["unknown_layer"] == 5 + 48
    assert sorting.layer_of(100) == "r0", "who was there first goes on"


def test_a_layer_that_is_not_sent_has_ended_and_plain_video_never() -> None:
    sorting = Sorting()
    track = sorting.tracks["r0"]
    track.receive(RtpPacket(PAYLOAD_TYPE, True, 1, 1, 7, b"\x10\0x", {}), 100.0)
    assert (track.has_ended(101.9), track.has_ended(102.1)) == (False, True)
    plain = ReceivingTrack(replace(track.terms, layers=None), PublisherClock(), sorting.counters, lambda unit: None)
    assert not plain.has_ended(1e9)


class Publisher:
    """Sends pictures of all layers at once, as encoders do; says which of them are those of `source`."""

    def __init__(self) -> None:
        self.layers = Layers(("r0", "r1", "r2"))
        self.now_ns = 1_000_000 * MS
        for number, rendition in enumerate(("r0", "r1", "r2")):
            layer = self.layer(rendition)
            layer.width, layer.height = 320 << number, 180 << number

    def layer(self, rendition: str) -> Layer:
        layer = self.layers.find(rendition)
        assert layer is not None
        return layer

    def picture(self, *renditions: str, keys: str = "") -> list[str]:
        """One picture in some layers; those that were of `source`."""
        self.now_ns += FRAME_NS
        taken = []
        for rendition in renditions:
            layer = self.layer(rendition)
            layer.heard(1000, self.now_ns)
            if self.layers.follows(layer, key=rendition in keys.split(), now_ns=self.now_ns):
                taken.append(rendition)
        return taken

    def pictures(self, count: int, *renditions: str) -> list[str]:
        return [rendition for _ in range(count) for rendition in self.picture(*renditions)]


def test_source_goes_to_the_best_layer_at_a_key_picture() -> None:
    publisher = Publisher()
    assert publisher.picture("r0", "r1", "r2") == [], "nothing can begin without a key picture"
    assert publisher.picture("r0", keys="r0") == ["r0"]
    assert publisher.picture("r0", "r2") == ["r0"]
    wanted = publisher.layers.wanted(publisher.now_ns)
    assert wanted is publisher.layer("r2"), "a key picture of it is to be asked for"
    assert publisher.picture("r0", "r1", "r2", keys="r2") == ["r0", "r2"]
    assert publisher.pictures(5, "r0", "r1", "r2") == ["r2"] * 5
    assert publisher.picture("r0", "r1", "r2", keys="r0 r1") == ["r2"], "lesser ones are not gone to"


def test_source_goes_on_when_the_best_layer_ends() -> None:
    publisher = Publisher()
    publisher.picture("r0", "r1", "r2", keys="r0 r1 r2")
    assert publisher.layers.aim == "r2"
    assert publisher.picture("r0", "r1", keys="r0 r1") == [], "it is late, and not yet gone"
    assert publisher.pictures(13, "r0", "r1") == []
    assert publisher.layers.has_ended(publisher.now_ns)
    assert publisher.layers.aim == "r1", "who asks for a key picture of `source` asks this layer"
    assert publisher.picture("r0", "r1", keys="r0") == [], "not the least while there is better"
    assert publisher.picture("r0", "r1", keys="r1") == ["r1"]
    # It comes back: not for every moment in which the line is good enough.
    assert publisher.picture("r1", "r2", keys="r2") == ["r1"]
    assert publisher.pictures(25, "r1", "r2") == ["r1"] * 25
    assert publisher.picture("r1", "r2", keys="r2") == ["r1"]
    assert publisher.pictures(25, "r1", "r2") == ["r1"] * 25
    assert publisher.picture("r1", "r2", keys="r2") == ["r1", "r2"]


def test_a_source_of_few_pictures_or_of_none_has_not_ended() -> None:
    publisher = Publisher()
    publisher.picture("r0", "r2", keys="r0 r2")
    publisher.now_ns += 2000 * MS
    assert publisher.picture("r0", keys="r0") == [], "a slow camera's next picture, of which the rest is under way"
    assert not publisher.layers.has_ended(publisher.now_ns)
    assert publisher.picture("r2") == ["r2"]


def test_times_of_source_go_on_from_one_layer_to_the_next() -> None:
    from schemas.packets import PacketHeader

    def header(dts_ns: int) -> PacketHeader:
        about: dict[str, Any] = {"stream": "cam", "rendition": "r0", "track": "video", "codec": "vp8", "captured_ns": 1}
        return PacketHeader(**about, epoch=0, sequence=1, run=1, index=1, pts_ns=dts_ns, dts_ns=dts_ns)

    layers = Layers(("r0", "r1"))
    assert layers.placed(header(5000 * MS)).dts_ns == 5000 * MS
    behind = layers.placed(header(4990 * MS))
    assert 5000 * MS < behind.dts_ns == behind.pts_ns < 5001 * MS
    assert layers.placed(header(5033 * MS)).dts_ns == 5033 * MS
    assert layers.placed(header(1000 * MS)).dts_ns == 1000 * MS, "another count: not for this to mend"


def test_state_tells_of_layers_when_they_change_and_seldom_of_their_bitrates() -> None:
    publisher = Publisher()
    told: list[tuple[LayerInfo, ...]] = []
    report = LayerReport(publisher.layers, told.append)
    for number in range(250):  # 10 s
        ended = number >= 125
        publisher.picture("r0", "r1", *(() if ended else ("r2",)), keys="r0 r1 r2")
        report.tell(publisher.now_ns)
    first, last = told[0], told[-1]
    assert [(layer.rendition, layer.active, layer.followed) for layer in first] == [
        ("r0", True, False),
        ("r1", True, False),
        ("r2", True, True),
    ]
    assert [(layer.rendition, layer.active, layer.followed) for layer in last] == [
        ("r0", True, False),
        ("r1", True, True),
        ("r2", False, False),
    ]
    assert (last[1].width, last[1].height) == (640, 360)
    assert last[1].bitrate == pytest.approx(200_000, rel=0.05)
    assert len(told) <= 6
    assert Layers(("source",)).shown(1) == ()
