"""A transport stream cut at every group: whenever its sound came, each clip begins with its key picture."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from services.publisher.catalogue import Catalogue
from services.publisher.catch_up import Packet
from services.publisher.file_packets import FilePackets
from services.publisher.outputs.base import OutputSettings
from shared.recording_index import KEY, index_path, read_index
from tests.support.packets import FPS, NANOSECONDS, Made, clip
from tests.unit.test_clip_maker import Node

pytestmark = pytest.mark.unit

SECONDS, GROUP = 3.0, 10
# When the sound comes: so many seconds before or after the pictures that it belongs to; None: there is none.
SOUND = [None, 0.0, -0.3, 0.3, 1.2]


def made(bframes: int, late_seconds: float | None, *, noise: bool) -> list[Made]:
    tracks = ("video",) if late_seconds is None else ("video", "aac")
    packets = clip(SECONDS, key_every=GROUP, tracks=tracks, bframes=bframes, noise=noise)
    late_ns = round((late_seconds or 0.0) * NANOSECONDS)
    begin = packets[0]
    others = [one for one in packets if one is not begin]
    return [
        begin,  # a recording begins with a key picture
        *sorted(others, key=lambda one: one.header.dts_ns + (late_ns if one.header.track == "aac" else 0)),
    ]


def shown(packets: list[Packet]) -> list[npt.NDArray[np.uint8]]:
    """The pictures that a decoder shows, in their order."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for _, payload in packets for frame in decoder.decode(av.Packet(bytes(payload)))]
    return [np.frombuffer(frame.planes[0], np.uint8).copy() for frame in [*frames, *decoder.decode(None)]]


# Pictures of noise are larger than what libav gives to the file at once.
CASES = [(late, bframes, False) for late in SOUND for bframes in (0, 2)] + [(0.0, 0, True)]


@pytest.mark.parametrize(("late_seconds", "bframes", "noise"), CASES)
def test_every_group_begins_with_its_key_picture(
    tmp_path: Path, late_seconds: float | None, bframes: int, noise: bool
) -> None:
    recorded = made(bframes, late_seconds, noise=noise)
    node = Node(tmp_path, tmp_path)
    node.settings = OutputSettings(file_roots=(node.media,), track_wait_seconds=0.2)
    file = node.record("a.ts", recorded)
    given = [(header, payload) for header, payload in recorded if header.track == "video"]
    records = read_index(index_path(file)).records
    [entry] = Catalogue((node.media,), tuple).entries("cam0")
    with av.open(str(file)) as container:
        begins = [packet.pos for packet in container.demux(video=0) if packet.size]
    assert records["offset"].tolist() == begins, "where each picture begins"
    keys = np.flatnonzero(records["flags"] & KEY).tolist()
    assert len(keys) == SECONDS * FPS / GROUP
    for first in keys:
        cut = [one for one in FilePackets(entry, records, first) if one[0].track == "video"][:GROUP]
        known = given[first : first + GROUP]
        assert [header.index for header, _ in cut] == [header.index for header, _ in known]
        assert [header.key for header, _ in cut] == [header.key for header, _ in known]
        assert [header.captured_ns for header, _ in cut] == [header.captured_ns for header, _ in known]
        pictures, truth = shown(cut), shown(known)
        assert len(pictures) == len(truth) == GROUP
        assert all(np.array_equal(one, other) for one, other in zip(pictures, truth, strict=True))
