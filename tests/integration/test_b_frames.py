"""Renditions with B-frames: every picture comes out, with times a muxer and a player take."""

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from schemas.packets import VideoCodec
from schemas.resources import RenditionSpec
from services.hw_encode import video
from tests.support.encoder import FPS, SPEC, Bench, decode
from tests.support.peers import wait_until

pytestmark = pytest.mark.integration

B_SPEC = replace(SPEC, b_frames=2, encoder="software", queue=16)
PICTURE_NS = 1_000_000_000 // FPS
Packets = list[tuple[bytes, dict[str, Any]]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as path:
        yield Path(path) / "rings"


def feed(bench: Bench, values: range) -> None:
    """Put pictures through, at most as many at a time as can wait."""
    for value in values:
        ref = bench.put(value)
        wait_until(lambda: bench.encoder._last_pts_ns == ref.pts_ns, 10, "the picture taken")  # noqa: B023


def check_times(packets: Packets) -> None:
    dts = [fields["dts_ns"] for _, fields in packets]
    assert all(before < after for before, after in pairwise(dts)), "decoding times grow"
    assert all(fields["dts_ns"] <= fields["pts_ns"] for _, fields in packets)
    assert len({fields["pts_ns"] for _, fields in packets}) == len(packets)
    assert max(fields["pts_ns"] - fields["dts_ns"] for _, fields in packets) <= 9 * PICTURE_NS
    assert packets[0][1]["pts_ns"] - packets[0][1]["dts_ns"] <= PICTURE_NS + 20_000, "no earlier than it must"


@pytest.mark.parametrize(("codec", "b_frames"), [("h264", 1), ("h264", 7), ("hevc", 2)])
def test_every_picture_comes_out_with_times_that_grow(folder: Path, codec: VideoCodec, b_frames: int) -> None:
    bench = Bench(folder, replace(B_SPEC, codec=codec, b_frames=b_frames, key_interval="500ms"), slots=32)
    feed(bench, range(40, 80))
    bench.close()
    packets = bench.published.packets
    check_times(packets)
    assert sorted(fields["sequence"] for _, fields in packets) == list(range(1, 41)), "none is lost at the end"
    assert all(fields["reordered"] for _, fields in packets)
    assert [fields["pts_ns"] for _, fields in packets] != sorted(fields["pts_ns"] for _, fields in packets)
    assert [fields["sequence"] for _, fields in packets if fields["key"]] == [1, 16, 31]
    levels = [float(picture.mean()) for picture in decode(packets, codec)]
    assert np.abs(np.array(levels) - [(value - 16) * 255 / 219 for value in range(40, 80)]).max() < 4, "in their order"
    from_second_key = [number for number, (_, fields) in enumerate(packets) if fields["key"]][1]
    assert len(decode(packets[from_second_key:], codec)) == 25, "no picture reaches beyond a key picture"
    if codec == "h264":
        assert packets[0][0][4:6] in (b"\x67\x4d", b"\x67\x64"), "main or high: baseline has no B-frames"


def test_changed_while_it_runs_no_picture_is_lost_and_times_go_on_growing(folder: Path) -> None:
    bench = Bench(folder, replace(B_SPEC, b_frames=0), slots=32)
    expected = []
    for b_frames, fields in ((0, {}), (3, {}), (3, {"size": "160x90"}), (7, {}), (0, {})):
        bench.encoder.change(replace(B_SPEC, b_frames=b_frames, **fields))
        feed(bench, range(60, 72))
        expected += [(b_frames > 0, 160 if fields else 320)] * 12
    bench.close()
    packets = bench.published.packets
    check_times(packets)
    assert sorted(fields["sequence"] for _, fields in packets) == list(range(1, 61))
    in_order = sorted(packets, key=lambda packet: packet[1]["sequence"])
    assert [(fields["reordered"], fields["width"]) for _, fields in in_order] == expected
    assert [fields["sequence"] for _, fields in packets if fields["key"]] == [1, 13, 25, 37, 49]
    assert bench.encoder.counts.lost == 0


def test_pictures_of_another_size_and_times_that_step_back_begin_anew_without_a_loss(folder: Path) -> None:
    bench = Bench(folder, B_SPEC, slots=32)
    feed(bench, range(60, 70))
    bench.geometry = replace_geometry(bench, 640, 360)
    feed(bench, range(60, 70))
    bench._number = iter(range(5, 100))  # the clock was set back
    feed(bench, range(60, 70))
    bench.close()
    packets = bench.published.packets
    assert sorted(fields["sequence"] for _, fields in packets) == list(range(1, 31))
    assert [fields["sequence"] for _, fields in packets if fields["key"]] == [1, 11, 21]
    check_times(packets[:20])
    check_times(packets[20:])


def test_pictures_closer_than_the_encoder_counts_are_none_fewer(folder: Path) -> None:
    bench = Bench(folder, B_SPEC, slots=32)
    bench._number = map(Fraction, ("0", "1", "2", "2.0001", "2.0002", "3"))  # 3 us apart; a tick is 11
    feed(bench, range(60, 66))
    bench.close()
    check_times(bench.published.packets)
    assert sorted(fields["sequence"] for _, fields in bench.published.packets) == list(range(1, 7))


def replace_geometry(bench: Bench, width: int, height: int) -> Any:
    return type(bench.geometry)(pixel_format="yuv420p", width=width, height=height)


def test_the_last_pictures_come_when_no_more_do(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(video, "_FINISH_AFTER_SECONDS", 0.2)
    bench = Bench(folder, replace(B_SPEC, b_frames=3), slots=32)
    feed(bench, range(60, 70))
    assert len(bench.published.wait(10, 5)) == 10
    feed(bench, range(60, 70))
    bench.close()
    check_times(bench.published.packets)
    assert [fields["sequence"] for _, fields in bench.published.packets if fields["key"]] == [1, 11]
    assert bench.encoder.counts.lost == 0


def test_b_frames_cost_a_delay_of_so_many_pictures_and_no_more(folder: Path) -> None:
    spec = RenditionSpec(stream="cam0", b_frames=2, encoder="software", queue=16)
    bench = Bench(folder, spec, slots=32)
    feed(bench, range(60, 63))
    wait_until(lambda: len(bench.encoder._packets) == 3, 5, "three pictures inside")
    assert not bench.published.packets
    bench.put(63)
    assert bench.published.wait(1, 5)[0][1]["sequence"] == 1
    bench.close()
