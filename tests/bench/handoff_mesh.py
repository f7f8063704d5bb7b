"""The hand-off through the mesh: a frame ring, references on the bus."""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from schemas.frames import FrameRef
from schemas.subjects import frames
from shared.bus import Bus, Message
from shared.ring import LeaseError, RingGeometry, RingReader, StreamWriter
from tests.bench.handoff_roles import (
    STALLED_SECONDS,
    Flow,
    Job,
    ProducerReport,
    ReaderReport,
    job_from_arguments,
    number_picture,
    say,
    source_pictures,
)

SUBJECT = frames("bench", "cam0")


async def read(job: Job, number: int) -> None:
    report, flow = ReaderReport(), Flow(job)
    reader = RingReader(Path(job.folder) / "rings")
    decoder = msgspec.json.Decoder(FrameRef)
    bus = await Bus.connect(job.nats_url, name=f"reader-{number}", timeout_seconds=STALLED_SECONDS)

    def receive(message: Message) -> None:
        ref = decoder.decode(message.data)
        try:
            with reader.lease(ref) as picture:
                report.take(picture.array, ref.sequence, ref.captured_ns, ref.monotonic_ns)
        except LeaseError:
            report.lost += 1
        flow.took(number)

    await bus.subscribe(SUBJECT, receive)
    await bus.flush()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    say(report)
    await bus.drain()


async def produce(job: Job) -> None:
    report, flow, sources = ProducerReport(), Flow(job), source_pictures(job)
    geometry = RingGeometry("yuv420p", job.width, job.height)
    writer = StreamWriter(Path(job.folder) / "rings", stream="cam0", node="bench", epoch=1)
    first = writer.acquire(geometry)  # makes the ring, as the peer's publisher makes its memory before the clock runs
    assert first is not None
    first.abandon()
    encoder = msgspec.json.Encoder()
    bus = await Bus.connect(job.nats_url, name="producer", timeout_seconds=STALLED_SECONDS)
    await bus.flush()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    started = time.monotonic()
    tick = 0
    while (now := time.monotonic()) < started + job.seconds:
        if job.fps:
            await asyncio.sleep(max(0.0, started + tick / job.fps - now))
        else:
            # A spin, as in the peer: waiting for an event would cost what is measured.
            while not flow.room(report.sent) and time.monotonic() < now + STALLED_SECONDS:
                await asyncio.sleep(0)
        tick += 1
        copy_started_ns = time.monotonic_ns()
        slot = writer.acquire(geometry)
        if slot is None:
            report.dropped += 1
            continue
        np.copyto(slot.array, sources[tick % 2])
        number_picture(slot.array, writer.last_sequence + 1)
        copied_ns = time.monotonic_ns()
        ref = slot.commit(pts_ns=copied_ns, captured_ns=copy_started_ns, monotonic_ns=copied_ns)
        bus.post(SUBJECT, encoder.encode(ref))
        report.sent += 1
        report.copy_ms.append((copied_ns - copy_started_ns) / 1e6)
    report.seconds = time.monotonic() - started
    report.dropped += bus.stats.dropped_full
    await bus.flush()
    say(report)
    await asyncio.to_thread(sys.stdin.readline)  # the ring stays until the readers are done
    writer.close()
    await bus.drain()


if __name__ == "__main__":
    role, number, job = job_from_arguments()
    asyncio.run(read(job, number) if role == "read" else produce(job))
