"""The file format: what is written is what is documented, and no header can lead a reader astray."""

import os
import struct
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import InvalidValue
from schemas.frames import PixelFormat
from shared.ring import BadRing, RingGeometry, RingGone, RingHeader, RingReader, layout, list_rings
from shared.ring.layout import HEADER_BYTES
from tests.support.ring import GRAY, changed, make_writer, put, ring_folder

__all__ = ["ring_folder"]
pytestmark = pytest.mark.unit

CELLS = ("rggb", "bggr", "gbrg", "grbg")


@pytest.mark.parametrize(
    ("pixel_format", "shape", "frame_bytes"),
    [
        ("yuv420p", (72, 64), 64 * 48 * 3 // 2),
        ("nv12", (72, 64), 64 * 48 * 3 // 2),
        ("bgr24", (48, 64, 3), 64 * 48 * 3),
        ("rgb24", (48, 64, 3), 64 * 48 * 3),
        ("gray", (48, 64), 64 * 48),
        *((name, (48, 64), 64 * 48 * 2) for name in ("gray10le", "gray12le", "gray16le")),
        *((f"bayer_{cell}8", (48, 64), 64 * 48) for cell in CELLS),
        *((f"bayer_{cell}16le", (48, 64), 64 * 48 * 2) for cell in CELLS),
    ],
)
def test_geometry(pixel_format, shape, frame_bytes):
    geometry = RingGeometry(pixel_format, 64, 48)
    assert geometry.array_shape == shape
    assert geometry.frame_bytes == frame_bytes
    assert geometry.array_dtype == (np.uint16 if pixel_format[-4:] in ("10le", "12le", "16le") else np.uint8)


def test_every_pixel_format_has_a_code_that_never_changes():
    """As the documentation lists them: a consumer in another language has nothing else."""
    names = [
        "yuv420p", "nv12", "bgr24", "rgb24", "gray", "gray10le", "gray12le", "gray16le",
        *(f"bayer_{cell}8" for cell in CELLS), *(f"bayer_{cell}16le" for cell in CELLS),
    ]  # fmt: skip
    assert sorted(names) == sorted(get_args(PixelFormat))
    for code, name in enumerate(names, 1):
        page = _header(geometry=RingGeometry(name, 64, 48)).pack()
        assert struct.unpack_from("<I", page, 12) == (code,)
        assert f"{code} {name}" in " ".join(layout.__doc__.split())


@pytest.mark.parametrize("pixel_format", get_args(PixelFormat))
def test_every_sample_is_read_as_it_was_written(ring_folder: Path, pixel_format):
    geometry = RingGeometry(pixel_format, 66, 38)
    written = np.random.default_rng(1).integers(
        0, np.iinfo(geometry.array_dtype).max, geometry.array_shape, geometry.array_dtype, endpoint=True
    )
    with make_writer(ring_folder, geometry=geometry) as writer, RingReader(ring_folder) as reader:
        slot = writer.acquire()
        slot.array[:] = written
        ref = slot.commit(pts_ns=1, captured_ns=2, monotonic_ns=3, exposure_ns=4, metadata={"Gain": 1.5})
        assert (ref.exposure_ns, ref.metadata) == (4, {"Gain": 1.5})
        with reader.lease(ref) as picture:
            assert picture.array.dtype == geometry.array_dtype
            assert not picture.array.flags.writeable
            assert np.array_equal(picture.array, written)


@pytest.mark.parametrize(
    ("pixel_format", "width", "height"),
    [
        ("yuv420p", 63, 48),
        ("nv12", 64, 47),
        ("gray", 0, 1),
        ("gray", 1, 16385),
        ("bayer_rggb8", 2, 1),
        ("yuv444p", 64, 48),
    ],
)
def test_geometry_refuses(pixel_format, width, height):
    with pytest.raises(InvalidValue):
        RingGeometry(pixel_format, width, height)


def test_bytes_are_where_the_format_says(ring_folder: Path):
    """A consumer in another language has only the offsets in the documentation."""
    geometry = RingGeometry("bgr24", 20, 10)
    with make_writer(ring_folder, geometry=geometry, epoch=7, slots=3, delivery="lossless") as writer:
        slot = writer.acquire()
        slot.array[...] = 5
        ref = slot.commit(pts_ns=-1, captured_ns=2, monotonic_ns=3, duration_ns=4, clock="rtcp")
        data = (ring_folder / writer.name).read_bytes()
        ring_id = int(writer.name.split(".")[2], 16)
        assert data[:8] == b"fmring\r\n"
        assert struct.unpack_from("<IIQQQQQ", data, 8) == (1, 3, ring_id, 7, 1, 0, 0)
        frame_bytes, slot_stride, slots_offset = struct.unpack_from("<QQQ", data, 56)
        assert (frame_bytes, slot_stride, slots_offset) == (600, 4096, 8192)
        assert struct.unpack_from("<IIII", data, 80) == (20, 10, 3, 1)
        assert data[128:192].rstrip(b"\0") == b"cam0"
        assert data[192:256].rstrip(b"\0") == b"node-a"
        assert struct.unpack_from("<QqqqqQ", data, 4096 + 64 * ref.slot) == (1, -1, 2, 3, 4, 1)
        start = slots_offset + ref.slot * slot_stride
        assert data[start : start + frame_bytes] == bytes([5]) * 600
        assert len(data) == slots_offset + 3 * slot_stride


def _header(**changes) -> RingHeader:
    wanted = {"stream": "cam0", "node": "n", "epoch": 1, "ring_id": 2, "geometry": GRAY, "slots": 4}
    return RingHeader(**wanted | changes)


def test_header_survives_the_round_trip():
    header = _header(delivery="lossless", created_ns=9, last_sequence=8, superseded_by=7, closed=True)
    assert RingHeader.parse(header.pack(), header.file_bytes) == header


@pytest.mark.parametrize("file_bytes_more", [-4096, -1, 1, 4096])
def test_a_file_of_another_size_is_refused(file_bytes_more):
    header = _header()
    with pytest.raises(BadRing, match="file size"):
        RingHeader.parse(header.pack(), header.file_bytes + file_bytes_more)


@given(page=st.binary(max_size=512), file_bytes=st.integers(0, 2**63))
def test_noise_is_no_ring(page, file_bytes):
    with pytest.raises(BadRing):
        RingHeader.parse(page, file_bytes)


@given(
    offset=st.integers(8, 255),
    value=st.binary(min_size=1, max_size=16),
    file_bytes=st.sampled_from([0, 4096, _header().file_bytes, 2**40]),
)
def test_a_damaged_header_is_refused_or_stays_inside_the_file(offset, value, file_bytes):
    page = bytearray(_header().pack())
    page[offset : offset + len(value)] = value
    del page[256:]
    try:
        header = RingHeader.parse(bytes(page), file_bytes)
    except BadRing:
        return
    assert header.file_bytes == file_bytes
    assert header.slot_offset(header.slots - 1) + header.geometry.frame_bytes <= file_bytes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(offset=st.integers(0, 255), value=st.binary(min_size=1, max_size=16), length=st.integers(-5000, 5000))
def test_a_reader_survives_a_hostile_file(ring_folder: Path, offset, value, length):
    """Through the real mapping: every picture byte is touched, so a wrong bound would be a Bus error."""
    with make_writer(ring_folder) as writer:
        ref = put(writer, 1)
        page = bytearray((ring_folder / writer.name).read_bytes())
    page[offset : offset + len(value)] = value
    hostile = ring_folder / ref.ring
    hostile.write_bytes((page + bytes(5000))[: len(page) + length])
    with RingReader(ring_folder) as reader:
        try:
            with reader.lease(ref) as picture:
                assert picture.array.sum() == picture.array.size
        except RingGone:
            assert reader.counts.gone == 1
    list_rings(ring_folder)
    hostile.unlink()


def test_a_ring_with_holes_is_refused(ring_folder: Path):
    """A hole is filled at first touch, which is a Bus error when memory is full."""
    with make_writer(ring_folder, geometry=RingGeometry("gray", 640, 480)) as writer:
        ref = put(writer, 1)
        header = (ring_folder / writer.name).read_bytes()[:HEADER_BYTES]
        size = (ring_folder / writer.name).stat().st_size
    sparse = ring_folder / ref.ring
    sparse.write_bytes(header)
    with sparse.open("r+b") as file:
        file.truncate(size)
    with RingReader(ring_folder) as reader, pytest.raises(RingGone, match="reserved"):
        reader.lease(ref)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_regular_files_are_opened(ring_folder: Path, kind):
    with make_writer(ring_folder) as writer:
        ref = put(writer, 1)
        path = ring_folder / ("cam0.1." + "0" * 16 + ".ring")
        if kind == "link":
            path.symlink_to(ring_folder / writer.name)
        elif kind == "folder":
            path.mkdir()
        else:
            os.mkfifo(path)
        with RingReader(ring_folder) as reader, pytest.raises(RingGone):
            reader.lease(changed(ref, ring=path.name))
        assert [entry.name for entry in list_rings(ring_folder)] == [writer.name]


@pytest.mark.parametrize("name", ["../x.1.0000000000000000.ring", "/etc/passwd", "cam0.1.00.ring", "", "cam0"])
def test_a_reference_cannot_point_elsewhere(ring_folder: Path, name):
    with make_writer(ring_folder) as writer, RingReader(ring_folder) as reader:
        ref = put(writer, 1)
        with pytest.raises(RingGone, match="not a ring's name"):
            reader.lease(changed(ref, ring=name))
