"""The process that an encoder runs in, so that a driver that crashes or hangs takes nothing else with it.

Its standard input is the connection to the service; see `encoder_wire`.
"""

import mmap
import os
import signal
import socket
import sys
import weakref

import msgspec
import numpy as np
from av.video.frame import PictureType, VideoFrame

from services.hw_encode import kinds
from services.hw_encode.encoder_wire import (
    LENGTH_BYTES,
    SLOTS,
    Answer,
    EncodeSlot,
    OpenEncoder,
    layout_of,
    message,
    slot_bytes,
    slot_planes,
)
from services.hw_encode.libav_codec import TIME_BASE, Codec, EncoderFailed, open_codec
from shared.media.frames import array_frame, frame_planes
from shared.parent import killed_with_parent

_READ_BYTES = 65_536
_open_decoder = msgspec.msgpack.Decoder(OpenEncoder)
_slot_decoder = msgspec.msgpack.Decoder(EncodeSlot | None)


def main() -> None:
    """Serve one encoder until the service closes the connection."""
    killed_with_parent()  # if the service is gone already, the connection is closed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends this
    connection = _Connection()
    while (asked := connection.receive()) is not None:
        job = _open_decoder.decode(asked)
        descriptor = connection.take_descriptor()
        try:
            kind = next(kind for kind in kinds.ENCODERS if kind.name == job.kind)
            codec = open_codec(kind, job.spec, job.width, job.height, job.fps, job.colour_space)
            slots = _Slots(descriptor, kind.pixel_format, job.width, job.height)
        except (EncoderFailed, OSError) as error:
            connection.answer(Answer(error=str(error) or type(error).__name__))
            continue
        finally:
            os.close(descriptor)
        connection.answer(Answer())
        _serve(connection, codec, slots)
        return


def _serve(connection: "_Connection", codec: Codec, slots: "_Slots") -> None:
    while (asked := connection.receive()) is not None:
        place = _slot_decoder.decode(asked)
        try:
            packets = codec.finish() if place is None else codec.encode(slots.frame(place, keep=codec.keeps_input))
        except EncoderFailed as error:
            connection.answer(Answer(error=str(error)))
            return
        connection.answer(Answer(packets=tuple(packets), slot=slots.free))
        if place is None:
            return


class _Slots:
    """The pictures' memory, and which slots of it libav may still read."""

    def __init__(self, descriptor: int, pixel_format: str, width: int, height: int) -> None:
        self._form = pixel_format, width, height
        self._bytes = slot_bytes(width, height)
        self._memory = mmap.mmap(descriptor, SLOTS * self._bytes, prot=mmap.PROT_READ)
        self._held: set[int] = set()

    @property
    def free(self) -> int:
        return next(slot for slot in range(SLOTS) if slot not in self._held)

    def frame(self, place: EncodeSlot, *, keep: bool) -> VideoFrame:
        """The picture as libav takes it, in place where that is safe."""
        pixel_format, width, height = self._form
        layout = layout_of(pixel_format)
        array = np.frombuffer(self._memory, np.uint8, self._bytes, place.slot * self._bytes)
        # The last slot but one must stay free for the next picture; and libav has no frame in place of a jpeg's levels.
        if (keep and len(self._held) + 2 > SLOTS) or layout != pixel_format:
            frame = VideoFrame(width, height, pixel_format)
            for target, source in zip(
                frame_planes(frame, layout), slot_planes(array, pixel_format, width, height), strict=True
            ):
                np.copyto(target, source)
        else:
            self._held.add(place.slot)
            weakref.finalize(array, self._held.discard, place.slot)
            shape = (height * 3 // 2, width)
            frame = array_frame(array.reshape(shape), layout, width, height)
        frame.pts, frame.time_base = place.pts, TIME_BASE
        frame.pict_type = PictureType.I if place.key else PictureType.NONE
        return frame


class _Connection:
    def __init__(self) -> None:
        self._socket = socket.socket(fileno=os.dup(sys.stdin.fileno()))
        self._read = b""
        self._descriptors: list[int] = []

    def receive(self) -> bytes | None:
        """The next message; None when the service has gone."""
        while True:
            if len(self._read) >= LENGTH_BYTES:
                end = LENGTH_BYTES + int.from_bytes(self._read[:LENGTH_BYTES], "big")
                if len(self._read) >= end:
                    content, self._read = self._read[LENGTH_BYTES:end], self._read[end:]
                    return content
            data, descriptors, _, _ = socket.recv_fds(self._socket, _READ_BYTES, 1)
            self._descriptors += descriptors
            if not data:
                return None
            self._read += data

    def take_descriptor(self) -> int:
        """What came with the last message."""
        return self._descriptors.pop()

    def answer(self, answer: Answer) -> None:
        self._socket.sendall(message(answer))


if __name__ == "__main__":
    main()
