"""How much shared memory a mesh is told to need, against what its rings really take."""

from pathlib import Path

import msgspec
import pytest

from schemas.frames import PixelFormat
from schemas.mesh_file import MeshPlan, plan_from_mapping
from schemas.resources import StreamSpec, VideoInfo
from services.capture.settings import CaptureSettings
from services.cli.doctor.ice import IceSettings
from services.cli.doctor.ring_needs import CaptureRings, describe, needs_of_plan, shm_needs
from services.hw_encode.settings import HwEncodeSettings
from services.webrtc_gateway.settings import GatewaySettings
from shared.packet_ring import PacketRingSettings, PacketRingWriter
from shared.ring import RingGeometry, RingWriter
from shared.settings import Settings

CAPTURE, ENCODE = CaptureRings(), PacketRingSettings()
MIB = 1 << 20


def bytes_of(plan: dict[str, object]) -> dict[str, int]:
    return {need.ring: need.bytes for need in needs_of_plan(plan_from_mapping(plan), CAPTURE, ENCODE).rings}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(CaptureRings, CaptureSettings), (PacketRingSettings, HwEncodeSettings), (IceSettings, GatewaySettings)],
)
def test_the_doctor_knows_the_services_own_defaults(ours: type[Settings], theirs: type[Settings]) -> None:
    for field in msgspec.structs.fields(ours):
        if field.name not in ("data_dir", "node"):
            assert getattr(ours(), field.name) == getattr(theirs(), field.name), field.name


@pytest.mark.parametrize(
    ("size", "pixel_format"),
    [
        ("640x480", "yuv420p"),
        ("1920x1080", "nv12"),
        ("642x480", "gray"),
        ("1280x720", "gray12le"),
        ("640x480", "bgr24"),
    ],
)
def test_a_frame_ring_takes_what_was_said(tmp_path: Path, size: str, pixel_format: PixelFormat) -> None:
    told = bytes_of({"streams": {"cam0": {"source": "app://", "size": size, "pixel_format": pixel_format}}})["cam0"]
    width, height = map(int, size.split("x"))
    ring = RingWriter.create(
        tmp_path,
        stream="cam0",
        node="here",
        epoch=1,
        geometry=RingGeometry(pixel_format, width, height),
        slots=CAPTURE.ring_slots,
    )
    taken = (tmp_path / ring.name).stat().st_size
    ring.close()
    assert told == taken


def test_a_packet_ring_takes_what_was_said(tmp_path: Path) -> None:
    told = bytes_of({"streams": {"cam0": "rtsp://camera/1"}})["cam0/main"]
    ring = PacketRingWriter.create(
        tmp_path, stream="cam0", rendition="main", run=1, max_bytes=ENCODE.packet_ring_bytes, seconds=15
    )
    taken = next(tmp_path.glob("*.pring")).stat().st_size
    ring.close()
    assert told == taken


def test_what_each_kind_of_stream_has() -> None:
    found = bytes_of(
        {
            "streams": {
                "cam0": "rtsp://camera/1",
                "test0": "test://?size=640x480&fps=15",
                "app0": {"source": "app://", "renditions": {"main": {"history": "60s"}, "low": {}}},
            },
            "mixes": {"wall": {"size": "1280x720", "inputs": ["mesh://cam0"]}},
        }
    )
    assert {"cam0", "cam0/source", "cam0/main", "cam0/low"} <= set(found)
    assert "test0/source" not in found
    assert "app0/source" not in found
    assert {"wall", "wall/main", "wall/low"} <= set(found)
    assert found["app0/main"] == 4 * 32 * MIB + 4096  # a minute is four times the usual quarter
    assert found["test0"] < found["wall"] < found["cam0"]


def test_history_ends_at_its_limit() -> None:
    found = bytes_of({"streams": {"cam0": {"source": "rtsp://camera/1", "history": "10m"}}})
    assert found["cam0/source"] == CAPTURE.history_bytes + 4096


def test_settings_count() -> None:
    plan = plan_from_mapping({"streams": {"cam0": {"source": "app://", "size": "1920x1080"}}})
    usual = needs_of_plan(plan, CAPTURE, ENCODE)
    more = needs_of_plan(plan, CaptureRings(ring_slots=16), ENCODE)
    assert {n.ring: n.bytes for n in more.rings}["cam0"] > 1.9 * {n.ring: n.bytes for n in usual.rings}["cam0"]
    less = needs_of_plan(plan, CAPTURE, PacketRingSettings(packet_ring_bytes=8 * MIB))
    assert less.bytes < usual.bytes


def test_the_sum_has_room_for_the_largest_twice_and_is_round() -> None:
    needs = needs_of_plan(plan_from_mapping({"streams": {"cam0": "rtsp://camera/1"}}), CAPTURE, ENCODE)
    assert needs.bytes >= sum(need.bytes for need in needs.rings) + max(need.bytes for need in needs.rings)
    assert needs.bytes % (64 * MIB) == 0
    assert needs.megabytes * MIB == needs.bytes
    assert needs_of_plan(MeshPlan(), CAPTURE, ENCODE).bytes == 64 * MIB


def test_sizes_that_are_guessed_are_said_to_be_and_seen_ones_win() -> None:
    spec = StreamSpec(stream="cam0", source="rtsp://camera/1")
    guessed = shm_needs([spec], [], [], CAPTURE, ENCODE, {})
    seen = shm_needs(
        [spec], [], [], CAPTURE, ENCODE, {"cam0": VideoInfo(codec="h264", width=3840, height=2160, fps=25)}
    )
    assert "assumed 1920x1080" in describe(guessed)
    assert "say `size`" in describe(guessed)
    assert "assumed" not in describe(seen)
    assert "0.32 s at 25 fps" in describe(seen)
    odd = shm_needs([spec], [], [], CAPTURE, ENCODE, {"cam0": VideoInfo(width=641, height=481, pixel_format="gray")})
    assert "642x482" in describe(odd)
    assert str(seen.bytes) in describe(seen)
