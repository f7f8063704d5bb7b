"""Image files of pictures of the mesh: from a stream, from a reference, from bytes; and of what is none."""

import asyncio
import base64
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas.errors import BadRequest, Conflict, MeshError, NotFound
from shared.clients.async_mesh import AsyncMesh
from tests.support.client import async_client
from tests.support.mesh import RunningMesh
from tests.support.metrics import total

pytestmark = pytest.mark.integration

WIDTH, HEIGHT = 320, 180
_LEAST_PSNR = {"jpg": 38.0, "png": 60.0, "webp": 34.0}  # of a gradient, at quality 90
PIC_ENCODE = "hw-encode.test.pic-encode"


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def gradient() -> np.ndarray[Any, Any]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack((x * 255 // WIDTH, y * 255 // HEIGHT, 255 - (x + y) // 2), axis=-1).astype(np.uint8)


def inline(**changes: Any) -> dict[str, Any]:
    data = base64.b64encode(gradient().tobytes()).decode()
    return {"data": data, "width": WIDTH, "height": HEIGHT, "pixel_format": "rgb24"} | changes


def opened(reply: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(reply["data"]))).convert("RGB"))


def psnr(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    error = float(((one.astype(float) - other.astype(float)) ** 2).mean())
    return 99.0 if not error else 10 * math.log10(255**2 / error)


async def test_pictures_that_are_sent_along_and_hostile_ones(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        for file_format, least in _LEAST_PSNR.items():
            reply = await app.call(PIC_ENCODE, picture=inline(), format=file_format)
            assert (reply["format"], reply["width"], reply["height"]) == (file_format, WIDTH, HEIGHT)
            assert psnr(opened(reply), gradient()) > least
        odd = base64.b64encode(bytes(13 * 7)).decode()
        for file_format in _LEAST_PSNR:
            picture = {"data": odd, "width": 13, "height": 7, "pixel_format": "gray"}
            reply = await app.call(PIC_ENCODE, picture=picture, format=file_format)
            assert opened(reply).shape == (7, 13, 3)
        reply = await app.call(PIC_ENCODE, picture=inline(), size="160x90")
        assert opened(reply).shape == (90, 160, 3)
        for said, request in {
            "picture.data '172800 bytes': rgb24 of 16384x16384 has 805306368": {
                "picture": inline(width=16_384, height=16_384), "size": "2x2",
            },
            "has 173760": {"picture": inline(height=HEIGHT + 1)},
            "takes even ones": {"picture": inline(width=321, pixel_format="yuv420p")},
            "give exactly one of them": {},
            "at most 67108864 pixels": {"picture": inline(), "size": "16384x16384"},
            "size 'wide'": {"stream": "cam0", "size": "wide"},
        }.items():  # fmt: skip
            with pytest.raises(BadRequest, match=said):
                await app.call(PIC_ENCODE, **request)
        with pytest.raises(MeshError):
            await app.call(PIC_ENCODE, picture=inline(data="no base64!"))
        with pytest.raises(NotFound, match="'nothing' does not exist"):
            await app.call(PIC_ENCODE, stream="nothing")


async def test_a_stream_that_stands_still_keeps_nobody_else_waiting(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        await app.start_stream("quiet", "app://", wait_s=0)
        waiting = [asyncio.create_task(app.call(PIC_ENCODE, stream="quiet", wait_s=1)) for _ in range(4)]
        await asyncio.sleep(0)  # they are sent first
        await app.call(PIC_ENCODE, picture=inline())
        assert not any(task.done() for task in waiting)
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, MeshError)
            assert (error.code, "no picture of quiet within 1 s" in str(error)) == (503, True)
        await app.call("capture.stop", stream="quiet")


async def test_pictures_of_a_stream_many_at_once_and_too_many(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        await app.start_stream("cam0", "test://?size=384x216&fps=30")
        replies = await asyncio.gather(
            *(app.call(PIC_ENCODE, stream="cam0", format=form) for form in ("jpg", "png", "webp") * 3)
        )
        assert {reply["stream"] for reply in replies} == {"cam0"}
        assert all(opened(reply).std() > 10 for reply in replies), "a test pattern is not one colour"
        png, jpg = (next(reply for reply in replies if reply["format"] == form) for form in ("png", "jpg"))
        assert psnr(opened(png), opened(jpg)) > 20, "a moving pattern, some pictures apart"
        await _of_a_reference(app)
        outcomes = await asyncio.gather(
            *(app.call(PIC_ENCODE, stream="cam0") for _ in range(60)), return_exceptions=True
        )
        refused = [error for error in outcomes if isinstance(error, MeshError)]
        assert {error.code for error in refused} == {429}
        metrics = mesh.ready["metrics"]["hw-encode"]
        assert total(metrics, "framemesh_hw_encode_stills_total", outcome="refused") == len(refused) > 0
        await app.call("capture.stop", stream="cam0")


async def _of_a_reference(app: AsyncMesh) -> None:
    """Of one that is there, and of the same one when it is not any more."""
    async with app.frames("cam0") as frames:
        frame = await anext(frames)
        ref = frame.ref
        reference = {name: getattr(ref, name) for name in ref.__struct_fields__}
        reply = await app.call(PIC_ENCODE, frame=reference, format="png")
        assert (reply["sequence"], reply["epoch"]) == (ref.sequence, ref.epoch)
        assert psnr(opened(reply)[..., ::-1], frame.bgr()) > 40
        frame.release()
        async for later in frames:
            if later.ref.sequence > ref.sequence + 30:
                break
        with pytest.raises((Conflict, NotFound), match=f"sequence {ref.sequence}"):
            await app.call(PIC_ENCODE, frame=reference)
        with pytest.raises(BadRequest, match=r"frame\.node 'elsewhere'"):
            await app.call(PIC_ENCODE, frame=reference | {"node": "elsewhere"})
        with pytest.raises(NotFound, match="is not the ring"):
            await app.call(PIC_ENCODE, frame=reference | {"width": 16_000})
