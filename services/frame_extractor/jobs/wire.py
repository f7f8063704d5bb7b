"""What a worker and the process of a job say to each other: messages of msgpack, each with its length before it.

The worker sends the task, then waits for `Opened` and answers it with one byte once there is memory for the job.
From then on it says again and again that it is alive, and once it has heard how the job ended, `END`: what it says next
is for another process, so this one reads no further.
"""

import msgspec
from msgspec import Struct

from schemas.extraction import FailureKind, SubmitJob, VideoFacts
from services.frame_extractor.storage.counts import StorageFigures

LENGTH_BYTES = 4
MAX_MESSAGE_BYTES = 256 << 20  # a hundred thousand pictures with the longest of paths
GO = b"+"
ALIVE = b"."
END = b"!"
SILENCE_STATUS = 75  # EX_TEMPFAIL of sysexits: a process that has not heard its worker for too long


class Order(Struct, frozen=True, kw_only=True):
    """What to do. Not in the arguments of the process, where anybody could read a secret."""

    request: SubmitJob
    """With the whole address of the video."""
    threads: int
    memory_bytes: int
    """The most that may be allocated."""
    silence_seconds: float
    """A worker that says nothing for so long is given up by the queue, and another one is at the job."""


class Opened(Struct, frozen=True, kw_only=True, tag=True):
    """The video is open."""

    needs_bytes: int
    """What decoding it is reckoned to take, by the size of its pictures."""


class Advanced(Struct, frozen=True, kw_only=True, tag=True):
    """So far it is."""

    done: int
    expected: int | None = None


class Finished(Struct, frozen=True, kw_only=True, tag=True):
    """Every picture is written."""

    facts: VideoFacts
    pictures: int
    pages: tuple[bytes, ...] = ()
    """The list of them, see `pages`."""
    firsts: tuple[int, ...] = ()
    storage: StorageFigures = StorageFigures()


class Failed(Struct, frozen=True, kw_only=True, tag=True):
    """It could not be done."""

    kind: FailureKind
    message: str
    may_pass: bool = True
    """May go better another time, as far as `kind` allows that."""
    storage: StorageFigures = StorageFigures()


Said = Opened | Advanced | Finished | Failed
said_decoder: "msgspec.msgpack.Decoder[Said]" = msgspec.msgpack.Decoder(Said)
order_decoder = msgspec.msgpack.Decoder(Order)


def message(item: Struct) -> bytes:
    content = msgspec.msgpack.encode(item)
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


def out_of_memory(limit_bytes: int) -> str:
    """What is told of a job that may not have what it needs."""
    return f"needs more than {limit_bytes} bytes; raise FRAMEMESH_FRAME_EXTRACTOR_JOB_MEMORY_BYTES"
