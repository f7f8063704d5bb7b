"""The same hand-off through iceoryx2: the producer copies into a loaned sample, an event wakes the readers."""

import ctypes
import select
import sys
import time
from typing import Any

import iceoryx2 as iox2
import numpy as np

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

# As many samples as the ring has slots for a reader to lag behind: one read, the rest waiting.
BUFFERED_SAMPLES = 6
WAKE_AT_LEAST_MS = 100  # to look whether the run is over
TIMES_BYTES = 16  # copy start and end, u64 each, behind the picture


def _services(job: Job) -> tuple[Any, Any, Any]:
    iox2.set_log_level(iox2.LogLevel.Fatal)
    node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
    pictures = (
        node.service_builder(iox2.ServiceName.new(job.service))
        .publish_subscribe(iox2.Slice[ctypes.c_uint8])
        .subscriber_max_buffer_size(BUFFERED_SAMPLES)
        .subscriber_max_borrowed_samples(2)
        .enable_safe_overflow(True)
        .max_subscribers(job.readers)
        .history_size(0)
        .open_or_create()
    )
    wake = (
        node.service_builder(iox2.ServiceName.new(job.service + "-wake"))
        .event()
        .max_listeners(job.readers)
        .open_or_create()
    )
    return node, pictures, wake


def _view(pointer: int, length: int) -> np.ndarray[Any, Any]:
    return np.frombuffer((ctypes.c_uint8 * length).from_address(pointer), np.uint8)


def read(job: Job, number: int) -> None:
    report, flow = ReaderReport(), Flow(job)
    _node, pictures, wake = _services(job)
    subscriber = pictures.subscriber_builder().create()
    listener = wake.listener_builder().create()
    say("ready")
    wait = iox2.Duration.from_millis(WAKE_AT_LEAST_MS)
    expected = 1
    while True:
        # One turn takes every event that has come, like one turn of the event loop.
        listener.timed_wait(wait)
        taken = 0
        while (sample := subscriber.receive()) is not None:
            data = _view(sample.payload_ptr, job.frame_bytes + TIMES_BYTES)
            copy_started_ns, copied_ns = (int(value) for value in data[-TIMES_BYTES:].view(np.uint64))
            report.take(data[:-TIMES_BYTES], expected, copy_started_ns, copied_ns)
            flow.took(number)
            expected += 1
            taken += 1
            sample.delete()
        if not taken and select.select([sys.stdin], [], [], 0)[0]:
            break
    say(report)


def produce(job: Job) -> None:
    report, flow, sources = ProducerReport(), Flow(job), source_pictures(job)
    length = job.frame_bytes + TIMES_BYTES
    _node, pictures, wake = _services(job)
    publisher = pictures.publisher_builder().initial_max_slice_len(length).create()
    notifier = wake.notifier_builder().create()
    say("ready")
    sys.stdin.readline()
    started = time.monotonic()
    tick = 0
    while (now := time.monotonic()) < started + job.seconds:
        if job.fps:
            time.sleep(max(0.0, started + tick / job.fps - now))
        else:
            while not flow.room(report.sent) and time.monotonic() < now + STALLED_SECONDS:
                time.sleep(0)
        tick += 1
        copy_started_ns = time.monotonic_ns()
        sample = publisher.loan_slice_uninit(length)
        data = _view(sample.payload_ptr, length)
        picture = data[:-TIMES_BYTES].reshape(job.height * 3 // 2, job.width)
        np.copyto(picture, sources[tick % 2])
        number_picture(picture, report.sent + 1)
        copied_ns = time.monotonic_ns()
        data[-TIMES_BYTES:].view(np.uint64)[:] = (copy_started_ns, copied_ns)
        sample.assume_init().send()
        notifier.notify()
        report.sent += 1
        report.copy_ms.append((copied_ns - copy_started_ns) / 1e6)
    report.seconds = time.monotonic() - started
    say(report)
    sys.stdin.readline()


if __name__ == "__main__":
    role, number, job = job_from_arguments()
    if role == "read":
        read(job, number)
    else:
        produce(job)
