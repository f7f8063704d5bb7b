"""Looks for defects in the pictures of a stream, and gives a pulse to an output for each.

    python examples/defect_detector.py line1 do1

The first pictures say how a good part looks. From then on the picture is divided into cells, and a part is bad when
enough of them are darker or brighter than they should be: dirt, scratches and holes, on parts that come to lie in one
place. A real model takes the place of `defect`; everything else stays.
"""

import argparse
import signal
import sys

import numpy as np
from numpy.typing import NDArray

from shared.clients.mesh import Frame, Mesh, MeshError, NotFound
from shared.pixel_formats import sample_bits

Cells = NDArray[np.float32]

CELL_PIXELS = 8  # of a cell's edge: noise is averaged away, and what is smaller than half of it as well
LEARNED_PICTURES = 10  # a third of a second: enough for their median to know noise from the part
MAX_DIFFERENCE = 25.0  # of 255: lamps flicker by half of that
MIN_CELLS = 3  # of a defect: one cell alone is a reflection


def cells_of(frame: Frame) -> Cells:
    """Brightness of each cell, of 255; shape (rows, columns). Reads the picture in place, and copies none of it."""
    luma = frame.luma
    rows, columns = luma.shape[0] // CELL_PIXELS, luma.shape[1] // CELL_PIXELS
    whole = luma[: rows * CELL_PIXELS, : columns * CELL_PIXELS]
    cells: Cells = whole.reshape(rows, CELL_PIXELS, columns, CELL_PIXELS).mean(axis=(1, 3), dtype=np.float32)
    return cells * (255.0 / ((1 << sample_bits(frame.ref.pixel_format)) - 1))


def defect(cells: Cells, good: Cells) -> tuple[int, int, int] | None:
    """Its size in cells, and the pixel in its middle; None where the part is good."""
    rows, columns = np.nonzero(np.abs(cells - good) > MAX_DIFFERENCE)
    if len(rows) < MIN_CELLS:
        return None
    x, y = (int((at.mean() + 0.5) * CELL_PIXELS) for at in (columns, rows))
    return len(rows), x, y


def learned(mesh: Mesh, stream: str, timeout_seconds: float) -> Cells:
    """How a good part looks: the median of the next pictures."""
    print(f"{stream}: learning from {LEARNED_PICTURES} pictures of good parts", flush=True)
    with mesh.frames(stream, timeout_seconds=timeout_seconds) as frames:
        pictures = [cells_of(next(frames)) for _ in range(LEARNED_PICTURES)]
    good: Cells = np.median(np.stack(pictures), axis=0)
    return good


def watch(mesh: Mesh, options: argparse.Namespace) -> None:
    stream, output = options.stream, options.signal
    known = {entry["spec"]["signal"] for entry in mesh.call("io-signal.list")["signals"]}
    if output not in known:
        raise NotFound(
            f"signal {output!r} does not exist (there are: {', '.join(sorted(known)) or 'none'}); set one up: "
            f'framemesh call io-signal.start \'{{"signal":"{output}","mode":"io","address":"file:///run/io/{output}"}}\''
        )
    good = learned(mesh, stream, options.timeout)
    print(f"{stream}: looking for defects, Ctrl-C ends it", flush=True)
    was_bad = False
    for frame in mesh.frames(stream, timeout_seconds=options.timeout):
        cells, ref = cells_of(frame), frame.ref
        if cells.shape != good.shape:  # the camera has another size now
            good, was_bad = learned(mesh, stream, options.timeout), False
            continue
        found = defect(cells, good)
        if found and not was_bad:  # one pulse for a part, however many pictures show it
            size, x, y = found
            done = mesh.call(
                "io-signal.pulse",
                signal=output,
                keep=options.keep,
                type="ng",
                stream=stream,
                epoch=ref.epoch,
                sequence=ref.sequence,
                captured_ns=ref.captured_ns,
                by="defect-detector",
                why=f"{size} cells at {x},{y}",
            )
            mesh.tell(stream, "ng", ref, cells=size, x=x, y=y)  # for rules, and for whoever counts
            late_ms = done["since_capture_ns"] / 1e6
            print(f"{stream} {ref.sequence}: {size} cells at {x},{y}; {output} on after {late_ms:.1f} ms", flush=True)
        was_bad = found is not None


def main() -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("stream", help="whose pictures are looked at, for example line1")
    parser.add_argument("signal", help="output that gets the pulse, for example do1")
    parser.add_argument("--keep", default="200ms", metavar="TIME", help="length of the pulse (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="without a picture, then it ends"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # systemd and docker end it as Ctrl-C does
    try:
        with Mesh.connect(name="defect-detector") as mesh:
            watch(mesh, options)
    except MeshError as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
