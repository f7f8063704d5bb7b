"""Counts who goes through the middle of a picture, and keeps a clip of each.

    python examples/people_counter.py door --before 3s --after 3s

What moves is found by comparing cells of the picture with their slow average; cells that touch are one person, who is
counted when their middle crosses that of the picture. It stands in for a real detector: two people side by side are
one. Clips are cut out of what the mesh has in memory, by its command, and nothing is encoded for them.
"""

import argparse
import asyncio
import signal
import sys

import numpy as np
from numpy.typing import NDArray

from shared.clients.mesh import AsyncMesh, EventStream, Frame, MeshError

Cells = NDArray[np.float32]

CELL_PIXELS = 16  # of a cell's edge: a person at a door has some twenty of them
MIN_DIFFERENCE = 12.0  # of 255: more than noise and shadows
MIN_CELLS = 4  # less is a cat
LEARNING = 0.02  # of each picture: who stands still for two seconds belongs to the room
MAX_STEP_CELLS = 6.0  # from one picture to the next; who is farther is somebody else


class Counter:
    """People on their way over the picture; positions in cells."""

    def __init__(self) -> None:
        self.rightwards = self.leftwards = 0
        self._average: Cells | None = None
        self._people: list[tuple[float, float]] = []

    def look(self, frame: Frame) -> str:
        """`rightwards` or `leftwards` when somebody has crossed with this picture, else nothing."""
        luma = frame.luma
        rows, columns = luma.shape[0] // CELL_PIXELS, luma.shape[1] // CELL_PIXELS
        whole = luma[: rows * CELL_PIXELS, : columns * CELL_PIXELS]
        cells: Cells = whole.reshape(rows, CELL_PIXELS, columns, CELL_PIXELS).mean(axis=(1, 3), dtype=np.float32)
        if self._average is None or self._average.shape != cells.shape:  # the first, or of another size
            self._average, self._people = cells, []
        moving = np.abs(cells - self._average) > MIN_DIFFERENCE
        self._average += (cells - self._average) * LEARNING
        found, middle, crossed = blobs(moving), columns / 2, ""
        for column, row in self._people:
            near = min(found, key=lambda at: abs(at[0] - column) + abs(at[1] - row), default=(np.inf, np.inf))
            near_enough = abs(near[0] - column) + abs(near[1] - row) <= MAX_STEP_CELLS
            if near_enough and (column < middle) != (near[0] < middle):
                crossed = "rightwards" if column < middle else "leftwards"
        self._people = found
        self.rightwards += crossed == "rightwards"
        self.leftwards += crossed == "leftwards"
        return crossed


def blobs(moving: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """The middle of each group of cells that touch: column, row."""
    left, groups = set(zip(*np.nonzero(moving), strict=True)), []
    while left:
        group, ends = [], [left.pop()]
        while ends:
            row, column = ends.pop()
            group.append((row, column))
            touching = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & left
            left -= touching
            ends.extend(touching)
        if len(group) >= MIN_CELLS:
            rows, columns = np.mean(group, axis=0)
            groups.append((float(columns) + 0.5, float(rows) + 0.5))
    return groups


async def report(events: EventStream) -> None:
    """A clip ends seconds after it was asked for: an event tells."""
    async for event in events:
        if event.event == "clip":
            clip = event.detail
            said = clip["file_name"] if clip["state"] == "finished" else clip["error"]["message"]
            print(f"clip {clip['clip']} {clip['state']}: {said}", flush=True)


async def count(options: argparse.Namespace) -> None:
    counter = Counter()
    clip = {"stream": options.stream, "start": f"-{options.before}", "end": f"+{options.after}", "wait_s": 0}
    async with AsyncMesh.connect(name="people-counter") as mesh:
        told = asyncio.create_task(report(mesh.events(service="publisher", stream=options.stream)))
        async for frame in mesh.frames(options.stream, timeout_seconds=options.timeout):
            if crossed := counter.look(frame):
                mesh.tell(options.stream, "crossed", frame.ref, direction=crossed)  # for rules
                made = await mesh.call(f"publisher.{frame.ref.node}.clip", **clip)
                so_far = f"{counter.rightwards} right, {counter.leftwards} left"
                print(f"{crossed}: {so_far}; clip {made['clip']}", flush=True)
        told.cancel()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stream", help="whose pictures are looked at, for example door")
    parser.add_argument("--before", default="3s", metavar="TIME", help="of a clip (default: %(default)s)")
    parser.add_argument("--after", default="3s", metavar="TIME", help="of a clip (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="without a picture")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # systemd and docker end it as Ctrl-C does
    try:
        asyncio.run(count(options))
    except MeshError as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
