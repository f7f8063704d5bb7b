"""The reading end: a leased picture stays as it is until nothing of it is in use any more."""

import gc
import itertools
import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from shared.media.scheduling import usual_scheduling
from shared.ring import FrameOverwritten, LeaseLimit, RingGeometry, RingGone, RingReader, RingWriter
from tests.support.ring import GRAY, changed, fill, make_writer, put, ring_folder

__all__ = ["ring_folder"]
pytestmark = pytest.mark.unit


def _two_slots(folder: Path, geometry: RingGeometry = GRAY) -> RingWriter:
    """A ring in which each picture is overwritten by the next but one."""
    return make_writer(folder, geometry=geometry, slots=2, history=0, keep_seconds=0)


def _is_free(writer: RingWriter, slot: int) -> bool:
    """Whether the writer can get this slot; everything is given back."""
    taken = []
    while (one := writer.acquire()) is not None:
        taken.append(one)
    free = slot in {one.index for one in taken}
    for one in taken:
        one.abandon()
    return free


def test_a_lease_is_read_only_and_not_a_copy(ring_folder: Path):
    with make_writer(ring_folder) as writer, RingReader(ring_folder) as reader:
        with reader.lease(put(writer, 3)) as picture:
            array = picture.array
            assert array is picture.array
            assert type(array) is np.ndarray
            assert (array.shape, array.dtype, array.flags.c_contiguous) == ((48, 64), np.uint8, True)
            with pytest.raises(ValueError, match="read-only"):
                array[0, 0] = 1
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True
        with pytest.raises(RuntimeError, match="released"):
            _ = picture.array
        assert reader.counts.ok == 1


def test_each_outcome_is_counted(ring_folder: Path):
    with _two_slots(ring_folder) as writer, RingReader(ring_folder, max_leases=1) as reader:
        old = put(writer, 1)
        new = put(writer, 2)
        assert old.slot == new.slot
        with pytest.raises(FrameOverwritten, match="it holds 2") as caught:
            reader.lease(old)
        assert caught.value.ref is old
        slot = writer.acquire()
        with pytest.raises(FrameOverwritten, match="being written"):
            reader.lease(new)
        slot.abandon()
        with pytest.raises(FrameOverwritten, match="nothing"):
            reader.lease(new)
        with reader.lease(put(writer, 3)) as held, pytest.raises(LeaseLimit):
            reader.lease(held.ref)
        with pytest.raises(RingGone):
            reader.lease(changed(held.ref, ring="cam0.1.0123456789abcdef.ring"))
        counts = reader.counts
        assert (counts.ok, counts.overwritten, counts.gone, counts.refused) == (1, 3, 1, 1)
        assert reader.held == 0


@pytest.mark.parametrize(
    "change",
    [
        {"slot": 4},
        {"slot": -1},
        {"epoch": 2},
        {"width": 63},
        {"height": 49},
        {"pixel_format": "nv12"},
        {"stream": "cam1"},
        {"node": "node-b"},
    ],
)
def test_a_reference_that_lies_is_refused(ring_folder: Path, change):
    with make_writer(ring_folder) as writer, RingReader(ring_folder) as reader:
        with pytest.raises(RingGone, match="describes"):
            reader.lease(changed(put(writer, 1), **change))
        assert reader.held == 0


def test_two_leases_of_one_reader_on_one_slot(ring_folder: Path):
    """The kernel merges the two locks: the first release must not free the slot."""
    with _two_slots(ring_folder) as writer, RingReader(ring_folder) as reader:
        ref = put(writer, 1)
        first, second = reader.lease(ref), reader.lease(ref)
        first.release()
        first.release()  # twice is once
        assert not _is_free(writer, ref.slot)
        with pytest.raises(FrameOverwritten):
            reader.lease(changed(ref, sequence=7))  # a failed lease on a held slot does not free it either
        assert not _is_free(writer, ref.slot)
        assert (second.array == 1).all()
        second.release()
        assert _is_free(writer, ref.slot)


def test_two_readers_of_one_process(ring_folder: Path):
    with _two_slots(ring_folder) as writer, RingReader(ring_folder) as one, RingReader(ring_folder) as two:
        ref = put(writer, 1)
        leases = [one.lease(ref), two.lease(ref)]
        leases[0].release()
        assert not _is_free(writer, ref.slot)
        leases[1].release()
        assert _is_free(writer, ref.slot)


VIEWS = {
    "itself": lambda array: array,
    "slice": lambda array: array[10:20],
    "slice of slice": lambda array: array[10:20][2:3, ::2],
    "reshaped": lambda array: array.reshape(-1),
    "other type": lambda array: array.view(np.uint16),
    "asarray": np.asarray,
    "frombuffer": lambda array: np.frombuffer(array, np.uint8),
    "memoryview": memoryview,
    "slice of memoryview": lambda array: memoryview(array)[3:4],
    "matrix": lambda array: array.view(np.matrix),
    "iterator": lambda array: array.flat,
    "transposed": lambda array: array.T,
    "libav": lambda array: av.VideoFrame.from_numpy_buffer(array, "gray"),
    "plane of libav": lambda array: av.VideoFrame.from_numpy_buffer(array, "gray").planes[0],
    "array of libav's plane": lambda array: np.frombuffer(av.VideoFrame.from_numpy_buffer(array, "gray").planes[0]),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_slot_is_held_until_its_last_view_is_gone(ring_folder: Path, view):
    with _two_slots(ring_folder) as writer, RingReader(ring_folder) as reader:
        ref = put(writer, 1)
        with reader.lease(ref) as picture:
            kept = [VIEWS[view](picture.array)]
        assert reader.held == 1
        assert not _is_free(writer, ref.slot)
        kept.clear()
        assert reader.held == 0
        assert _is_free(writer, ref.slot)


@pytest.mark.parametrize("also_look", [False, True])
def test_a_forgotten_lease_is_released(ring_folder: Path, also_look):
    with _two_slots(ring_folder) as writer, RingReader(ring_folder) as reader:
        ref = put(writer, 1)
        lease = reader.lease(ref)
        if also_look:
            assert (lease.array == 1).all()
        cycle = [lease]
        cycle.append(cycle)
        del lease, cycle
        gc.collect()
        assert reader.held == 0
        assert _is_free(writer, ref.slot)


def test_a_copy_frees_the_slot(ring_folder: Path):
    with _two_slots(ring_folder) as writer, RingReader(ring_folder) as reader:
        ref = put(writer, 1)
        with reader.lease(ref) as picture:
            copy = picture.array.copy()
        assert _is_free(writer, ref.slot)
        put(writer, 2)
        assert (copy == 1).all()


def test_a_finalizer_inside_lease_does_not_deadlock(ring_folder: Path):
    """A garbage collection may strike while the reader's mutex is held by the same thread."""
    with make_writer(ring_folder, slots=8) as writer, RingReader(ring_folder, max_leases=1000) as reader:
        ref = put(writer, 1)
        threshold = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(3000):
                cycle = [reader.lease(ref).array]
                cycle.append(cycle)
        finally:
            gc.set_threshold(*threshold)
        del cycle
        gc.collect()
        assert reader.held == 0


def test_many_threads_share_a_reader(ring_folder: Path):
    with (
        make_writer(ring_folder, slots=8, history=0, keep_seconds=0) as writer,
        RingReader(ring_folder, max_leases=64) as reader,
    ):
        refs = [fill(writer.acquire(range(1, 9)), number) for number in range(1, 5)]
        wrong: list[int] = []

        def use(ref):
            for _ in range(2000):
                with reader.lease(ref) as picture:
                    if picture.array[5, 5] != ref.pts_ns:
                        wrong.append(ref.sequence)

        threads = [threading.Thread(target=use, args=(ref,)) for ref in refs * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not wrong
        assert reader.held == 0
        assert reader.counts.ok == 16_000
        assert all(_is_free(writer, ref.slot) for ref in refs)


def test_open_rings_are_bounded_and_ended_ones_are_dropped(ring_folder: Path):
    fds_before = len(os.listdir("/proc/self/fd"))
    with RingReader(ring_folder, max_open_rings=3) as reader:
        writers = [make_writer(ring_folder, stream=f"cam{number}") for number in range(6)]
        held = reader.lease(put(writers[0], 9))
        for writer in writers:
            reader.lease(put(writer, 1)).release()
        assert len(reader._rings) == 3
        assert writers[0].name in reader._rings  # a picture of it is held
        for writer in writers:
            writer.close()
        assert reader.trim() == 2
        assert (held.array == 9).all()
        del held
        assert reader.trim() == 1
        del writers, writer
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == fds_before
        with open("/proc/self/maps") as maps:
            assert str(ring_folder) not in maps.read()


def test_a_closed_reader_leases_nothing_and_its_pictures_stay(ring_folder: Path):
    with _two_slots(ring_folder) as writer:
        reader = RingReader(ring_folder)
        ref = put(writer, 1)
        array = reader.lease(ref).array
        reader.close()
        with pytest.raises(LeaseLimit):
            reader.lease(ref)
        assert not _is_free(writer, ref.slot)
        assert (array == 1).all()
        del array
        assert _is_free(writer, ref.slot)


def test_locks_do_not_survive_a_fork(ring_folder: Path):
    with _two_slots(ring_folder) as writer, RingReader(ring_folder) as reader:
        lease = reader.lease(put(writer, 1))
        child = os.fork()
        if child == 0:
            failed = 0
            try:
                lease.release()  # does nothing to the parent's lock
                try:
                    writer.acquire()
                    failed = 1
                except RuntimeError:
                    pass
            finally:
                os._exit(failed)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert not _is_free(writer, lease.ref.slot)
        lease.release()
        assert _is_free(writer, lease.ref.slot)


FRAME_COUNT = 24
ENCODERS = ["mjpeg", "png", "libx264", "libx265", "libsvtav1", "libvpx", "libvpx-vp9", "libwebp", "mpeg4", "huffyuv",
            "ffv1"]  # fmt: skip


@pytest.mark.parametrize("thread_count", [1, 4])
@pytest.mark.parametrize("codec", ENCODERS)
def test_encoders_see_whole_pictures_though_slots_are_overwritten(ring_folder: Path, codec, thread_count):
    """Frame-threaded encoders read a picture after `encode` returned; the lease lasts as long as libav's buffer.

    Every slot that can be had is overwritten after every release. An encoder fed from copies is the reference.
    """
    if codec not in av.codecs_available:
        pytest.skip(f"this libav has no encoder {codec}")
    formats = {format.name for format in av.Codec(codec, "w").video_formats or []}
    pixel_format = next((name for name in ("yuv420p", "rgb24", "gray") if name in formats), None)
    if codec == "mjpeg":
        pixel_format = "yuv420p"
    if pixel_format is None:
        pytest.skip(f"{codec} takes none of the rings' pixel formats")
    geometry = RingGeometry(pixel_format, 320, 240)
    pictures = np.random.default_rng(1).integers(0, 255, (FRAME_COUNT, *geometry.array_shape), np.uint8)
    noise = np.full(geometry.array_shape, 77, np.uint8)

    expected = _encode(codec, geometry, thread_count, (picture.copy() for picture in pictures))

    with (
        make_writer(ring_folder, geometry=geometry, slots=32, history=0, keep_seconds=0) as writer,
        RingReader(ring_folder, max_leases=32) as reader,
    ):

        def leased():
            for picture in pictures:
                slot = writer.acquire()
                slot.array[...] = picture
                lease = reader.lease(slot.commit(0, 0, 0))
                array = lease.array
                lease.release()
                yield array
                del array
                taken = []
                while (one := writer.acquire()) is not None:
                    one.array[...] = noise
                    taken.append(one)
                for one in taken:
                    one.abandon()

        assert _encode(codec, geometry, thread_count, leased()) == expected
        gc.collect()
        assert reader.held == 0


def _encode(codec, geometry, thread_count, arrays) -> list[bytes]:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = geometry.width, geometry.height
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else geometry.pixel_format
    context.time_base = Fraction(1, 30)
    context.framerate = 30
    context.thread_count = thread_count
    if codec in ("mjpeg", "png"):
        context.thread_type = "FRAME"
        context.qmin = context.qmax = 3  # rate control across frame threads depends on their timing
    if codec.startswith("libx26"):
        context.options = {"preset": "ultrafast"}
        if codec == "libx265":
            context.options["x265-params"] = "log-level=error:pools=2"
    if codec == "libsvtav1":
        context.options = {"preset": "12"}
    if codec.startswith("libvpx"):
        # Negative: at a fixed speed. Otherwise libvpx chooses its speed by the clock, and no two runs are alike.
        context.options = {"deadline": "realtime", "cpu-used": "-8" if codec == "libvpx" else "8"}
    with usual_scheduling():
        context.open()
    packets = []
    times = itertools.count()  # not `enumerate`: it would keep a reference to the array
    for array in arrays:
        frame = av.VideoFrame.from_numpy_buffer(array, context.pix_fmt)
        del array
        frame.pts = next(times)
        packets += [bytes(packet) for packet in context.encode(frame)]
        del frame
    packets += [bytes(packet) for packet in context.encode(None)]
    return packets
