"""Pictures that tell of themselves whether they are whole, and the application that writes them into the mesh.

python -m tests.chaos.full_load.pictures NATS_URL SHM_DIR
"""

import asyncio
import sys
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.clients.mesh import AsyncMesh

Picture = npt.NDArray[np.uint8]

STREAM: Final = "cam3"
NODE: Final = "test"
WIDTH, HEIGHT, FPS = 640, 360, 15
ROWS: Final = HEIGHT * 3 // 2  # of yuv420p
_NUMBER_BYTES: Final = 8
_STEP: Final = 7  # of a row's value from picture to picture; odd, so that no two of 256 in a row are alike
_ROW_VALUES: Final = np.arange(ROWS, dtype=np.uint64)


def draw(number: int) -> Picture:
    """Every row has a value of its own that no neighbouring picture has there; the first holds the number."""
    picture = np.repeat(_rows(number)[:, None], WIDTH, axis=1)
    picture[0, :_NUMBER_BYTES] = np.frombuffer(number.to_bytes(_NUMBER_BYTES, "little"), np.uint8)
    return picture


def is_whole(picture: npt.NDArray[Any]) -> bool:
    """Whether every byte is of the picture whose number the first row holds; (540, 640) of yuv420p."""
    number = int.from_bytes(picture[0, :_NUMBER_BYTES].tobytes(), "little")
    rows = _rows(number)
    return bool((picture[1:] == rows[1:, None]).all() and (picture[0, _NUMBER_BYTES:] == rows[0]).all())


def _rows(number: int) -> Picture:
    return ((_ROW_VALUES + np.uint64(number * _STEP & 0xFF)) & np.uint64(0xFF)).astype(np.uint8)


async def write(nats_url: str, shm_dir: str) -> None:
    """For ever: a source that is cut by ending its process."""
    async with (
        AsyncMesh.connect(nats_url, node=NODE, shm_dir=shm_dir, name="line") as mesh,
        mesh.publish(STREAM, width=WIDTH, height=HEIGHT, pixel_format="yuv420p", fps=FPS) as stream,
    ):
        due = time.monotonic()
        number = 0
        while True:
            await stream.write(draw(number))
            number += 1
            due = max(due + 1 / FPS, time.monotonic() - 1 / FPS)  # what was lost is not caught up
            await asyncio.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:3]))
