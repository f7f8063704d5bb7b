"""A process of its own at a ring, driven by lines of JSON on its standard input and output.

Run as `python -m tests.support.ring_child FOLDER ROLE`. Roles:

write   {"put": value, "width": pixels} -> the reference; {"acquire": true} -> {"acquired": bool}
hold    a reference -> {"value": first byte}; {"look": true} -> what it holds; {"release": true} -> one fewer
flood   writes checked pictures as fast as it can until its input has a line; answers the first reference
hammer  {"ref": a reference, "count": n, "seed": s} -> what n leased and checked pictures were like
consume references, each answered by a FrameAck after a moment's work; ends at the end of its input
"""

import json
import os
import random
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from schemas.frames import FrameAck, FrameRef
from shared.ring import FrameOverwritten, Lease, RingGeometry, RingReader, StreamWriter, Superseded
from shared.ring.opened import OpenRing

CHECKED = RingGeometry("gray", 128, 64)
_LOOK_TWICE_EVERY = 16  # held pictures are checked again after others had the processor


def answer(value: Any) -> None:
    sys.stdout.write((msgspec.json.encode(value)).decode() + "\n")
    sys.stdout.flush()


def write(folder: Path) -> None:
    writer = StreamWriter(folder, stream="cam0", node="node-a", epoch=int(os.environ.get("EPOCH", "1")), slots=4)
    for line in sys.stdin:
        wanted = json.loads(line)
        geometry = RingGeometry("gray", wanted.get("width", 64), 48)
        try:
            slot = writer.acquire(geometry)
            if wanted.get("acquire") or slot is None:
                answer({"acquired": slot is not None})
                continue
            slot.array[...] = wanted["put"]
            answer(slot.commit(pts_ns=wanted["put"], captured_ns=0, monotonic_ns=0))
        except Superseded:
            answer({"superseded": True})
            writer.close()
            return


def hold(folder: Path) -> None:
    reader = RingReader(folder, max_leases=64)
    leases: list[Lease] = []
    for line in sys.stdin:
        if json.loads(line).get("look"):
            answer({"values": [int(lease.array[0, 0]) for lease in leases]})
        elif json.loads(line).get("release"):
            leases.pop(0).release()
            answer({"held": len(leases)})
        else:
            try:
                leases.append(reader.lease(msgspec.json.decode(line, type=FrameRef)))
                answer({"value": int(leases[-1].array[0, 0])})
            except FrameOverwritten:
                answer({"overwritten": True})


def consume(folder: Path) -> None:
    """The one consumer of a lossless stream: every third picture cannot be used, every fifth credit is lost."""
    reader = RingReader(folder)
    consumed = 0
    for seen, line in enumerate(sys.stdin):
        ref = msgspec.json.decode(line, type=FrameRef)
        error = ""
        if ref.sequence == consumed + 1:
            with reader.lease(ref) as picture:
                if not (picture.array == ref.sequence % 256).all():
                    error = "torn"
                elif ref.sequence % 3 == 0:
                    error = "cannot be used"
            consumed = ref.sequence
        if seen % 5:
            answer(FrameAck(stream=ref.stream, epoch=ref.epoch, consumer="job", sequence=consumed, error=error))


def flood(folder: Path) -> None:
    """Each picture: sequence and CRC-32 of the rest in its first 16 bytes."""
    writer = StreamWriter(folder, stream="cam0", node="node-a", epoch=1, slots=8)
    base = np.random.default_rng(7).integers(0, 255, CHECKED.array_shape, np.uint8)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    dropped = 0
    while not stop.is_set():
        slot = writer.acquire(CHECKED)
        if slot is None:
            dropped += 1
            continue
        sequence = writer.last_sequence + 1
        np.add(base, sequence & 0xFF, out=slot.array)
        flat = slot.array.reshape(-1)
        flat[:8] = np.frombuffer(sequence.to_bytes(8, "little"), np.uint8)
        flat[8:16] = np.frombuffer(zlib.crc32(flat[16:]).to_bytes(8, "little"), np.uint8)
        ref = slot.commit(0, 0, 0)
        if sequence == 1:
            answer(ref)
    writer.close()
    answer({"written": writer.last_sequence, "dropped": dropped})


def hammer(folder: Path) -> None:
    """Takes references straight out of the slot headers, so it always races the writer for the newest picture."""
    wanted = json.loads(sys.stdin.readline())
    template = msgspec.convert(wanted["ref"], FrameRef)
    pick = random.Random(wanted["seed"]).randrange
    reader = RingReader(folder)
    peeked = OpenRing(folder, template.ring)
    fields = msgspec.structs.asdict(template)
    torn = checked = 0
    while checked < wanted["count"]:
        slot = pick(peeked.slots)
        fields["slot"], fields["sequence"] = slot, peeked.words[peeked.sequence_words[slot]]
        try:
            lease = reader.lease(FrameRef(**fields))
        except FrameOverwritten:
            continue
        checked += 1
        with lease:
            torn += not _is_whole(lease, fields["sequence"])
            if checked % _LOOK_TWICE_EVERY == 0:
                os.sched_yield()
                torn += not _is_whole(lease, fields["sequence"])
        del lease
    answer({"torn": torn, "checked": checked, **vars(reader.counts)})


def _is_whole(lease: Lease, sequence: int) -> bool:
    data = memoryview(lease.array.reshape(-1))
    return int.from_bytes(data[:8], "little") == sequence and int.from_bytes(data[8:16], "little") == zlib.crc32(
        data[16:]
    )


if __name__ == "__main__":
    {"write": write, "hold": hold, "consume": consume, "flood": flood, "hammer": hammer}[sys.argv[2]](Path(sys.argv[1]))
