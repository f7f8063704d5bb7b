"""An application's own streams, encoded by a real mesh and looked at packet by packet."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import av
import numpy as np
import pytest

from shared.clients.mesh import AsyncMesh, Conflict, InvalidValue, NotConsumed, OtherNode, Superseded
from tests.support.client import Viewer, async_client
from tests.support.mesh import RunningMesh

pytestmark = pytest.mark.integration

_WIDTH, _HEIGHT, _FPS = 640, 480, 30
_PIXELS_OFF = 6.0  # mean difference of flat areas after 4:2:0, BT.601 and 4 Mbit/s
_LEFT, _RIGHT = (40, 60, 200), (180, 120, 30)  # BGR: red, blue


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh("--demo") as running:
        yield running


@pytest.fixture
async def app(mesh) -> AsyncIterator[AsyncMesh]:
    async with async_client(mesh) as connected:
        yield connected


def _grey(number: int) -> int:
    """A value that differs from picture to picture by more than the encoder's error."""
    return 30 + number * 37 % 190


def _halves() -> np.ndarray:
    picture = np.empty((_HEIGHT, _WIDTH, 3), np.uint8)
    picture[:, : _WIDTH // 2], picture[:, _WIDTH // 2 :] = _LEFT, _RIGHT
    return picture


async def test_a_live_stream_is_encoded_picture_by_picture(mesh, app):
    async with (
        app.publish("live1", width=_WIDTH, height=_HEIGHT, fps=_FPS) as stream,
        Viewer.watching(mesh, "live1") as viewer,
    ):
        number = 0
        assert not stream.wanted
        while len(viewer.pictures) < 20:
            number += 1
            ref = await stream.write(np.full((_HEIGHT, _WIDTH, 3), _grey(number), np.uint8))
            assert ref is not None
            assert ref.sequence == number
            await asyncio.sleep(1 / _FPS)
            assert number < 300, "nothing is encoded"
        assert stream.wanted
        for sequence, picture in viewer.pictures.items():
            assert abs(picture.mean() - _grey(sequence)) < _PIXELS_OFF
    assert "live1" not in {entry.spec.stream for entry in await app.streams()}


def _mosaic(picture: np.ndarray, pixel_format: str) -> np.ndarray:
    """One colour of each pixel of a BGR picture, as a sensor with this pattern sees it."""
    wide = pixel_format.endswith("16le")
    samples = np.empty(picture.shape[:2], np.uint16 if wide else np.uint8)
    for place, letter in enumerate(pixel_format[6:10]):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        samples[rows, columns] = picture[rows, columns, "bgr".index(letter)].astype(int) * (257 if wide else 1)
    return samples


@pytest.mark.parametrize(
    "pixel_format",
    [
        "bgr24", "rgb24", "gray", "nv12", "yuv420p", "gray10le", "gray12le", "gray16le",
        "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8", "bayer_rggb16le", "bayer_gbrg16le",
    ],
)  # fmt: skip
async def test_every_pixel_format_has_the_right_colours(mesh, app, pixel_format):
    wanted = _halves()
    if pixel_format.startswith("bayer"):
        source = _mosaic(wanted, pixel_format)
    else:
        source = av.VideoFrame.from_ndarray(wanted, format="bgr24").reformat(format=pixel_format).to_ndarray()
    if pixel_format.startswith("gray"):
        gray = source.astype(int) * 255 // {"10": 1023, "12": 4095, "16": 65535}.get(pixel_format[4:6], 255)
        wanted = np.repeat(gray[:, :, np.newaxis], 3, axis=2)
    name = f"colour-{pixel_format.replace('_', '-')}"
    async with (
        app.publish(
            name, width=_WIDTH, height=_HEIGHT, fps=_FPS, pixel_format=pixel_format, delivery="lossless"
        ) as stream,
        Viewer.watching(mesh, name) as viewer,
    ):
        for _ in range(12):
            async with stream.picture() as array:
                array[:] = source
            await asyncio.sleep(0.1)
            if viewer.pictures:
                break
        await viewer.until(1)
        async with app.frames(name, timeout_seconds=3) as seen:
            await stream.write(source)
            handed_over = (await anext(seen)).bgr()
            assert handed_over.dtype == np.uint8
            assert handed_over.flags.writeable
        [encoded, *_] = viewer.pictures.values()
    for picture in (handed_over, encoded):
        for columns in (slice(40, 280), slice(360, 600)):
            difference = picture[:, columns].mean(axis=(0, 1)) - wanted[:, columns].mean(axis=(0, 1))
            assert np.abs(difference).max() < _PIXELS_OFF


async def test_lossless_through_the_encoder_encodes_every_picture_once_in_order(mesh, app):
    count = 200
    async with (
        Viewer.watching(mesh, "job1") as viewer,
        app.publish("job1", width=_WIDTH, height=_HEIGHT, fps=_FPS, delivery="lossless") as stream,
    ):
        for number in range(1, count + 1):
            await stream.write(np.full((_HEIGHT, _WIDTH, 3), _grey(number), np.uint8))
        assert await stream.drain(10)
        assert (stream.counts.written, stream.counts.dropped, stream.counts.failed) == (count, 0, 0)
        await viewer.until(count)
        assert viewer.sequences == list(range(1, count + 1))
        for sequence, picture in viewer.pictures.items():
            assert abs(picture.mean() - _grey(sequence)) < _PIXELS_OFF


async def test_lossless_to_a_slow_application_brings_every_picture_once_in_order(mesh, app):
    count = 60
    seen: list[tuple[int, int]] = []

    async def consume() -> None:
        async with async_client(mesh, name="slow") as other:
            async for frame in other.frames("job2", consumer="slow", timeout_seconds=10):
                with frame:
                    await asyncio.sleep(0.01)
                    seen.append((frame.ref.sequence, int(frame.array[0, 0])))
                if len(seen) == count:
                    return

    async with app.publish(
        "job2", width=64, height=48, pixel_format="gray", delivery="lossless", consumer="slow"
    ) as stream:
        consumer = asyncio.create_task(consume())
        for number in range(1, count + 1):
            await stream.write(np.full((48, 64), number, np.uint8))
        assert await stream.drain(10)
        await consumer
        assert stream.gate is not None
        assert stream.gate.counts.consumed == count
    assert seen == [(number, number) for number in range(1, count + 1)]


async def test_a_picture_whose_consumer_failed_goes_to_the_next_one(app):
    async with app.publish(
        "job3", width=64, height=48, pixel_format="gray", delivery="lossless", consumer="worker", deadline_seconds=0.5
    ) as stream:
        for number in range(1, 4):
            await stream.write(np.full((48, 64), number, np.uint8))
        first = app.frames("job3", consumer="worker", timeout_seconds=5)
        with await anext(first) as frame:
            assert frame.ref.sequence == 1
        broken = await anext(first)
        assert broken.ref.sequence == 2
        with pytest.raises(ZeroDivisionError), broken:
            raise ZeroDivisionError
        await first.aclose()
        second = app.frames("job3", consumer="worker", timeout_seconds=8)
        assert [(await anext(second)).ref.sequence for _ in range(2)] == [2, 3]
        await second.aclose()


async def test_what_happens_when_the_consumer_makes_no_room(app):
    picture = np.zeros((48, 64), np.uint8)
    options = {"width": 64, "height": 48, "pixel_format": "gray", "delivery": "lossless", "consumer": "nobody"}
    async with app.publish("full1", policy="drop", deadline_seconds=0.1, **options) as stream:
        refs = [await stream.write(picture) for _ in range(9)]
        assert [ref is not None for ref in refs] == [True] * 6 + [False] * 3  # 8 slots, 2 spare
        assert stream.counts.dropped == 3
    async with app.publish("full2", policy="refuse", deadline_seconds=0.1, **options) as stream:
        for _ in range(6):
            await stream.write(picture)
        with pytest.raises(NotConsumed, match="nobody must consume one first"):
            await stream.write(picture)
    async with app.publish("full3", policy="wait", deadline_seconds=0.3, **options) as stream:
        for _ in range(6):
            await stream.write(picture)
        with pytest.raises(NotConsumed, match=r"nobody has made no room for 0\.3 s"):
            await stream.write(picture)
        with pytest.raises(NotConsumed, match="`async with` wait"), stream.picture():
            pass


async def test_a_live_writer_never_waits_for_readers_that_hold_everything(app):
    async with app.publish("held", width=64, height=48, pixel_format="gray", slots=4) as stream:
        kept = []
        async with app.frames("held", timeout_seconds=2) as frames:
            for number in range(8):
                await stream.write(np.full((48, 64), number, np.uint8))
                if len(kept) < 4:
                    kept.append((await anext(frames)).keep())
        assert stream.counts.dropped == 4
        assert [int(frame.array[0, 0]) for frame in kept] == [0, 1, 2, 3]
        with stream.picture() as scratch:
            scratch[:] = 255  # dropped as well: the kept ones are untouched
        assert stream.counts.dropped == 5
        assert kept[0].array.max() == 0


async def test_times_and_identity_travel_with_the_picture(app):
    async with app.publish("times", width=64, height=48, pixel_format="gray", fps=25) as stream:
        async with app.frames("times", timeout_seconds=2) as frames:
            await stream.write(np.zeros((48, 64), np.uint8), captured_ns=1_000, pts_ns=2_000, clock="driver")
            ref = (await anext(frames)).ref
        assert (ref.captured_ns, ref.pts_ns, ref.clock, ref.duration_ns) == (1_000, 2_000, "driver", 40_000_000)
        assert (ref.epoch, ref.sequence) == (stream.epoch, 1)
        with pytest.raises(InvalidValue, match="times must grow"):
            await stream.write(np.zeros((48, 64), np.uint8), pts_ns=2_000)
        first = await stream.write(np.zeros((48, 64), np.uint8))
        second = await stream.write(np.zeros((48, 64), np.uint8))
        assert first is not None
        assert second is not None
        assert [first.sequence, second.sequence] == [2, 3]
        assert second.pts_ns > first.pts_ns


async def test_what_cannot_be_is_refused(mesh, app):
    with pytest.raises(Conflict, match=r"'demo' is test://\?size=1280x720&fps=30"):
        async with app.publish("demo", width=64, height=48):
            pass
    with pytest.raises(InvalidValue, match="width 63"):
        async with app.publish("odd", width=63, height=48, pixel_format="nv12"):
            pass
    with pytest.raises(InvalidValue, match="live streams have none"):
        async with app.publish("odd", width=64, height=48, consumer="x"):
            pass
    async with app.publish("shape", width=64, height=48) as stream:
        with pytest.raises(InvalidValue, match=r"bgr24 pictures of shape are \(48, 64, 3\)"):
            await stream.write(np.zeros((48, 64), np.uint8))
        with pytest.raises(InvalidValue, match="uint8"):
            await stream.write(np.zeros((48, 64, 3), np.float32))
        with pytest.raises(ZeroDivisionError), stream.picture():
            raise ZeroDivisionError
        with stream.picture() as _, pytest.raises(RuntimeError, match="before the next"):
            await stream.write(np.zeros((48, 64, 3), np.uint8))
        async with async_client(mesh, node="elsewhere") as other:
            with pytest.raises(OtherNode):
                async with other.publish("shape", width=64, height=48):
                    pass


async def test_a_newer_publisher_takes_over_and_readers_follow(app):
    picture = np.zeros((48, 64), np.uint8)
    async with (
        app.publish("shared1", width=64, height=48, pixel_format="gray") as old,
        app.frames("shared1", timeout_seconds=3) as frames,
    ):
        await old.write(picture)
        assert (await anext(frames)).ref.epoch == old.epoch
        async with app.publish("shared1", width=128, height=96, pixel_format="bgr24") as new:
            await new.write(np.ones((96, 128, 3), np.uint8))
            with pytest.raises(Superseded):
                await old.write(picture)
            frame = await anext(frames)
            assert frame.ref.epoch == new.epoch
            assert frame.array.shape == (96, 128, 3)
            assert frames.counts.epochs == 2


def test_greys_of_neighbours_differ():
    assert all(abs(_grey(n) - _grey(n + 1)) > 2 * _PIXELS_OFF for n, _ in itertools.pairwise(range(200)))
