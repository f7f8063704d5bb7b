"""What producers and readers of the hand-off bench have in common, whichever system carries the pictures."""

import json
import mmap
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

FLOW_WINDOW_PICTURES = 3  # pictures in flight in a flat-out run: one read, one on its way, one written
STALLED_SECONDS = 10.0  # a reader that takes nothing for so long has died


class Job(msgspec.Struct, frozen=True):
    """One run of one system."""

    folder: str
    width: int
    height: int
    fps: float
    """0: as fast as the slowest reader takes them, `FLOW_WINDOW_PICTURES` in flight."""
    readers: int
    seconds: float
    nats_url: str = ""
    service: str = ""

    @property
    def frame_bytes(self) -> int:
        """I420."""
        return self.width * self.height * 3 // 2


@dataclass
class ReaderReport:
    """Times from the picture's copy to the reader having it, in ms."""

    received: int = 0
    lost: int = 0
    wrong: int = 0
    after_copy_ms: list[float] = field(default_factory=list)
    with_copy_ms: list[float] = field(default_factory=list)

    def take(self, picture: np.ndarray[Any, Any], number: int, copy_started_ns: int, copied_ns: int) -> None:
        """Count a picture that can be read now; its corners must carry its number."""
        now_ns = time.monotonic_ns()
        self.received += 1
        self.after_copy_ms.append((now_ns - copied_ns) / 1e6)
        self.with_copy_ms.append((now_ns - copy_started_ns) / 1e6)
        flat = picture.reshape(-1)
        if flat[0] != number & 0xFF or flat[-1] != number & 0xFF:
            self.wrong += 1


@dataclass
class ProducerReport:
    sent: int = 0
    dropped: int = 0
    seconds: float = 0.0
    copy_ms: list[float] = field(default_factory=list)


class Flow:
    """How many pictures each reader has taken, in a small shared file: the same for every system."""

    def __init__(self, job: Job) -> None:
        fd = os.open(Path(job.folder) / "flow", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, mmap.PAGESIZE)
        self._taken = np.frombuffer(mmap.mmap(fd, mmap.PAGESIZE), np.uint64)[: job.readers]
        os.close(fd)

    def took(self, reader: int) -> None:
        self._taken[reader] += np.uint64(1)

    def room(self, sent: int) -> bool:
        return sent - int(self._taken.min()) < FLOW_WINDOW_PICTURES


def source_pictures(job: Job) -> list[np.ndarray[Any, Any]]:
    """Two pictures in ordinary memory, as a decoder would have them."""
    noise = np.random.default_rng(3).integers(0, 255, (2, job.height * 3 // 2, job.width), np.uint8)
    return list(noise)


def number_picture(picture: np.ndarray[Any, Any], number: int) -> None:
    flat = picture.reshape(-1)
    flat[0] = flat[-1] = number & 0xFF


def say(value: Any) -> None:
    sys.stdout.write(json.dumps(asdict(value) if hasattr(value, "__dataclass_fields__") else value) + "\n")
    sys.stdout.flush()


def job_from_arguments() -> tuple[str, int, Job]:
    """(role, reader number, job) from the command line."""
    return sys.argv[1], int(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=Job)
