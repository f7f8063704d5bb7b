"""Clips out of files and the packet ring: every picture once, in order, with its sound, and told from when to when."""

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest
from msgspec.structs import replace

from schemas.errors import NotFound
from schemas.resources import OutputSpec
from services.publisher.catalogue import Catalogue
from services.publisher.catch_up import Packet
from services.publisher.clip_maker import ClipMaker
from services.publisher.clip_orders import ClipOrder, ClipOrders
from services.publisher.clip_pieces import Piece
from services.publisher.clip_spool import ClipSpool
from services.publisher.outputs.base import OutputSettings
from services.publisher.packet_file import read_spool
from services.publisher.writer import OutputWriter
from shared.packet_ring import PacketRingWriter
from shared.recording_index import index_path, read_index
from tests.support.packets import FPS, NANOSECONDS, Made, clip

START_NS = 1_700_000_000 * NANOSECONDS
SECONDS = 6.0
FRAME_NS = NANOSECONDS // FPS


class Node:
    """A publisher's disk and shared memory."""

    def __init__(self, folder: Path, shm: Path) -> None:
        self.media, self.shm = folder / "media", shm
        self.media.mkdir()
        self.settings = OutputSettings(file_roots=(self.media,), fragment_seconds=0.5)
        self.catalogue = Catalogue((self.media,), tuple)
        self.maker = ClipMaker("edge1", shm, self.settings, self.catalogue)
        self.rings: list[PacketRingWriter] = []

    def record(self, name: str, packets: list[Made]) -> Path:
        spec = OutputSpec(stream="cam0", output="archive", to=f"file://{name}", node="edge1")
        writer = OutputWriter(spec, spec.to, self.settings, lambda _: None, expected_tracks=("video", "aac"))
        writer.start()
        for header, payload in packets:
            writer.feed_when_room(header, memoryview(payload), 5.0)
        assert writer.finish(10.0)
        return self.media / name

    def ring(self, packets: list[Made], run: int = 1) -> None:
        ring = PacketRingWriter.create(self.shm, "cam0", "main", run, seconds=600)
        for header, payload in packets:
            ring.append(header, payload)
        self.rings.append(ring)

    def order(self, start_s: float, end_s: float, name: str = "clip.mp4") -> ClipOrder:
        return ClipOrder(
            clip="c1",
            stream="cam0",
            start_ns=START_NS + round(start_s * NANOSECONDS),
            end_ns=START_NS + round(end_s * NANOSECONDS),
            rendition="main",
            to=f"file://{name}",
        )


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="clip-test-") as shm:
        made = Node(tmp_path, Path(shm))
        yield made
        for ring in made.rings:
            ring.close()


def packets(*, bframes: int = 0, run: int = 1, width: int = 320) -> list[Made]:
    return list(clip(SECONDS, bframes=bframes, run=run, width=width, start_ns=START_NS))


def between(made: list[Made], first_s: float, last_s: float) -> list[Made]:
    """Pictures by their time of decoding, as a producer puts them out, and the sound of that time."""
    first_ns, last_ns = (START_NS + round(at * NANOSECONDS) for at in (first_s, last_s))
    begin_ns, end_ns = (_decoded_at(made, at_ns) for at_ns in (first_ns, last_ns))
    return [
        one
        for one in made
        if (
            begin_ns <= one.header.dts_ns < end_ns
            if one.header.track == "video"
            else first_ns <= one.header.pts_ns < last_ns
        )
    ]


def _decoded_at(made: list[Made], shown_ns: int) -> int:
    """When the key picture that is shown at that time is decoded: with B-frames before it is shown."""
    keys = [one.header for one in made if one.header.track == "video" and one.header.key]
    return next((key.dts_ns for key in keys if key.pts_ns == shown_ns), shown_ns)


def pictures(path: Path) -> tuple[list[int], list[float]]:
    """Numbers, as far as 64 tell them, and times of the pictures of a decoded file."""
    numbers, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            numbers.append(round(float(frame.to_ndarray()[:8, :4].mean() - 1.5) / 4) % 64)
            times.append(float(frame.time or 0.0))
    return numbers, times


def sound_seconds(path: Path) -> tuple[float, float]:
    with av.open(str(path)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.pts is not None]
    steps = [after - before for before, after in pairwise(times)]
    assert max(steps) < 0.045, "no block of sound is missing"
    return times[0], times[-1]


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("kind", ["mp4", "ts", "mkv"])
def test_over_two_files_and_the_ring(node: Node, kind: str, bframes: int) -> None:
    made = packets(bframes=bframes)
    node.record(f"a.{kind}", between(made, -1, 2))
    node.record(f"b.{kind}", between(made, 2, 4))
    node.ring(between(made, 3, SECONDS))
    told = node.maker.make(node.order(1.5, 5.0), None)
    assert told.error is None
    assert told.start_ns == START_NS + 1 * NANOSECONDS, "the key picture before"
    assert told.end_ns == pytest.approx(START_NS + 5 * NANOSECONDS + FRAME_NS, abs=2 * FRAME_NS)
    assert told.gaps_ns == 0
    numbers, times = pictures(Path(told.file_name))
    # What is decoded ahead of the last picture may be shown after it.
    assert len(numbers) == pytest.approx(4 * FPS + 1, abs=1 + bframes)
    assert numbers[: 4 * FPS] == [(FPS + number) % 64 for number in range(4 * FPS)], "every picture once, in order"
    steps = [after - before for before, after in pairwise(times[: 4 * FPS])]
    assert max(steps) == pytest.approx(1 / FPS, abs=0.002)
    assert min(steps) == pytest.approx(1 / FPS, abs=0.002)
    first, last = sound_seconds(Path(told.file_name))
    assert abs(first - times[0]) < 0.05
    assert abs(last - times[4 * FPS - 1]) < 0.1
    assert told.size_bytes == Path(told.file_name).stat().st_size
    records = read_index(index_path(Path(told.file_name))).records
    assert int(records["captured_ns"][0]) == told.start_ns, "a clip is a recording like any other"


def test_a_gap_is_told_and_stays(node: Node) -> None:
    made = packets()
    node.record("a.mp4", between(made, -1, 2))
    node.ring([Made(replace(one.header, run=2), one.payload) for one in between(made, 4, SECONDS)], run=2)
    told = node.maker.make(node.order(1.0, 4.5), None)
    assert told.gaps_ns == pytest.approx(2 * NANOSECONDS, abs=FRAME_NS)
    numbers, times = pictures(Path(told.file_name))
    assert numbers[:FPS] == [FPS + number for number in range(FPS)]
    assert numbers[FPS] == 4 * FPS % 64
    assert times[FPS] - times[0] == pytest.approx(3.0, abs=0.02), "pictures keep their distance on the wall"


def test_pictures_of_another_size_end_it_with_the_moment(node: Node) -> None:
    made = packets()
    node.record("a.mp4", between(made, -1, 2))
    node.ring(between(packets(run=2, width=352), 2, SECONDS), run=2)
    told = node.maker.make(node.order(0.0, 5.0), None)
    assert told.error is not None
    assert told.error.code == 409
    assert "the size of cam0/main changes at 2023-11-14T22:13:22+00:00" in told.error.message
    assert told.end_ns == pytest.approx(START_NS + 2 * NANOSECONDS, abs=FRAME_NS)
    assert len(pictures(Path(told.file_name))[0]) == 2 * FPS


def test_nothing_of_that_time_tells_what_there_is(node: Node) -> None:
    node.record("a.mp4", between(packets(), -1, 2))
    with pytest.raises(NotFound, match=r"there is main from 2023-11-14T22:13:20.000Z to 2023-11-14T22:13:21\.999Z"):
        node.maker.make(node.order(3.0, 4.0), None)
    assert sorted(path.name for path in node.media.iterdir()) == ["a.mp4", "a.mp4.idx"], "no file is left of it"
    shutil.rmtree(node.media)
    node.media.mkdir()
    with pytest.raises(NotFound, match="nothing at all: record it, or set history"):
        node.maker.make(node.order(3.0, 4.0), None)


def test_what_is_broken_off_is_left_out(node: Node) -> None:
    made = packets()
    file = node.record("a.mp4", between(made, -1, 4))
    with file.open("r+b") as cut:
        cut.truncate(file.stat().st_size * 2 // 3)
    told = node.maker.make(node.order(0.0, 5.0), None)
    numbers, _ = pictures(Path(told.file_name))
    assert FPS < len(numbers) < 4 * FPS
    assert numbers == [number % 64 for number in range(len(numbers))]


def test_what_is_set_aside_has_the_last_packets_of_a_producer_that_ended(node: Node, tmp_path: Path) -> None:
    first, second = packets(run=1), packets(run=2)
    spool = ClipSpool(node.shm, node.order(0, 60), tmp_path / "c1.packets", 1 << 30)
    spool.look()
    node.ring(first[:100])
    spool.look()
    for header, payload in first[100:]:
        node.rings[0].append(header, payload)
    node.rings[0].close()
    node.ring(second, run=2)
    spool.look()
    spool.close()
    found = [(one.run, one.index) for one, _, _ in read_spool(tmp_path / "c1.packets") if one.track == "video"]
    assert found == [(one.run, one.index) for one, _ in first + second if one.track == "video"]


class Killer(ClipMaker):
    """Is killed when its file is there, with half of the pictures on the way into it."""

    def _pieces(self, order: ClipOrder, spool: Path | None) -> list[Piece]:
        [piece] = super()._pieces(order, spool)

        def until_killed() -> Iterator[Packet]:
            packets = list(piece.packets)
            yield from packets[: len(packets) // 2]
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and not any(self.media.glob("clip*.idx")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

        return [piece._replace(packets=until_killed())]

    media = Path()


def _make_and_be_killed(media: Path, shm: Path, order: ClipOrder, state_dir: Path) -> None:
    settings = OutputSettings(file_roots=(media,), fragment_seconds=0.5)
    maker = Killer("edge1", shm, settings, Catalogue((media,), tuple))
    maker.media = media
    maker.make(order, None, state_dir)


def test_a_clip_that_a_kill_cut_off_is_made_anew_and_is_there_once(node: Node, tmp_path: Path) -> None:
    node.record("a.mp4", packets())
    orders, order = ClipOrders(tmp_path / "clips"), node.order(1, 4)
    orders.keep(order)
    arguments = (node.media, node.shm, order, orders.state_dir(order))
    child = multiprocessing.get_context("spawn").Process(target=_make_and_be_killed, args=arguments)
    child.start()
    child.join(20)
    assert child.exitcode == -signal.SIGKILL
    assert (node.media / "clip.mp4").exists()
    again = ClipOrders(tmp_path / "clips")
    assert again.load() == [order]
    assert sorted(path.name for path in node.media.iterdir()) == ["a.mp4", "a.mp4.idx"]
    node.maker.make(order, None, again.state_dir(order))
    again.forget(order)
    assert again.load() == []
    assert sorted(path.name for path in node.media.glob("clip*")) == ["clip.mp4", "clip.mp4.idx"]
    assert not list((tmp_path / "clips").iterdir())
