"""What a push says to the process that talks to its peer, and what it hears from it.

To the process: frames, each 4 bytes big-endian length and the content; the first is a `PushJob`, every other one
a packet: 2 bytes length, `PushPacket` as msgpack, payload. The end of the pipe means: finish. From it: lines of
JSON, each a `PushReport`.
"""

import sys
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from schemas.errors import ErrorInfo
from schemas.packets import Track
from shared.media.mux import TrackParameters

_LENGTH_BYTES = 4
_PACKET_LENGTH_BYTES = 2


class PushJob(Struct, frozen=True, kw_only=True):
    """Where to push, and what."""

    url: str
    """With its secrets: it goes through the pipe because command lines can be read by anyone."""
    container_format: str
    options: dict[str, str]
    tracks: dict[Track, TrackParameters]
    timeout_seconds: float


class PushPacket(Struct, frozen=True, array_like=True):
    """What the muxer needs to know of a packet."""

    track: Track
    pts_ns: int
    dts_ns: int
    duration_ns: int
    key: bool


class PushReport(Struct, frozen=True, kw_only=True):
    """Either the peer has answered and takes packets, or why it does not."""

    error: ErrorInfo | None = None
    key_wanted: bool = False
    """The peer asks for a key picture."""
    dropped: int = 0
    """Packets that were handed over and did not go out, since the report before."""


_encoder = msgspec.msgpack.Encoder()
_packet_decoder = msgspec.msgpack.Decoder(PushPacket)


def frame_of_job(job: PushJob) -> bytes:
    content = _encoder.encode(job)
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


def frame_of_packet(packet: PushPacket, payload: memoryview) -> bytes:
    head = _encoder.encode(packet)
    length = _PACKET_LENGTH_BYTES + len(head) + len(payload)
    return b"".join(
        (length.to_bytes(_LENGTH_BYTES, "big"), len(head).to_bytes(_PACKET_LENGTH_BYTES, "big"), head, payload)
    )


def read_job(pipe: BinaryIO) -> PushJob:
    """The job.

    Raises:
        EOFError: the other end has gone without giving one.
    """
    content = _read_frame(pipe)
    if content is None:
        raise EOFError
    return msgspec.msgpack.decode(content, type=PushJob)


def read_packets(pipe: BinaryIO) -> Iterator[tuple[PushPacket, memoryview]]:
    """Packets until the other end closes the pipe; one that is cut short is none."""
    while (content := _read_frame(pipe)) is not None:
        view = memoryview(content)
        start = _PACKET_LENGTH_BYTES + int.from_bytes(view[:_PACKET_LENGTH_BYTES], "big")
        yield _packet_decoder.decode(view[_PACKET_LENGTH_BYTES:start]), view[start:]


def write_report(report: PushReport) -> None:
    """Say it to the service; in the process."""
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


def _read_frame(pipe: BinaryIO) -> bytes | None:
    length = pipe.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        return None
    content = pipe.read(int.from_bytes(length, "big"))
    return content if len(content) == int.from_bytes(length, "big") else None
