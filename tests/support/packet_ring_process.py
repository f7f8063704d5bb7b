"""Run as processes by tests of the packet ring: a writer that is killed, readers that check every byte.

python -m tests.support.packet_ring_process write <folder> <run> <payload bytes> <packets per second, 0: all it can>
python -m tests.support.packet_ring_process read <folder> <seconds>
"""

import json
import random
import sys
import time
import zlib
from pathlib import Path

from schemas.errors import NotFound
from schemas.packets import PacketHeader
from shared.packet_ring import PacketRingReader, PacketRingWriter

KEY_EVERY = 10
CAPACITY_BYTES = 256 * 1024


def write(folder: str, run: str, payload_bytes: str, rate: str) -> None:
    """Packets whose header holds the CRC of their payload, in `captured_ns`."""
    ring = PacketRingWriter.create(Path(folder), "cam0", "main", int(run), seconds=60, max_bytes=CAPACITY_BYTES)
    print("ready", flush=True)
    noise = random.Random(1).randbytes(int(payload_bytes) + 256)
    index = 0
    while True:
        index += 1
        payload = noise[index % 256 : index % 256 + int(payload_bytes) - index % 7]
        header = PacketHeader(
            stream="cam0",
            rendition="main",
            track="video",
            codec="h264",
            epoch=1,
            sequence=index,
            run=int(run),
            index=index,
            key=index % KEY_EVERY == 1,
            pts_ns=index,
            dts_ns=index,
            captured_ns=zlib.crc32(payload),
        )
        ring.append(header, payload)
        if int(rate):
            time.sleep(1 / int(rate))


def read(folder: str, seconds: str) -> None:
    """Read in every way for some time; prints how much was read, torn and missed."""
    packets = torn = missed = unordered = 0
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        try:
            reader = PacketRingReader.open_latest(Path(folder), "cam0", "main")
        except NotFound:
            continue
        with reader:
            for start in (reader.from_last_key(), reader.since(0), reader.after(reader.run, 1 << 40)):
                last = 0
                for header, payload in start:
                    packets += 1
                    torn += zlib.crc32(payload) != header.captured_ns
                    unordered += header.index <= last
                    missed += bool(last) and header.index > last + 1
                    last = header.index
                    if time.monotonic() > deadline:
                        break
    print(json.dumps({"packets": packets, "torn": torn, "missed": missed, "unordered": unordered}))


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
