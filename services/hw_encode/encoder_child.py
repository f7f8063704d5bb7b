"""The service's end of an encoder's process: starting it, giving it pictures with a deadline, ending it.

Costs a copy of each picture and two switches of process: see `isolate` in the settings for what was measured.
"""

import contextlib
import logging
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator

import msgspec
import numpy as np
from av.video.frame import PictureType, VideoFrame

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.resources import RenditionSpec
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
from services.hw_encode.kinds import EncoderKind
from services.hw_encode.libav_codec import Encoded, EncoderFailed
from shared.media.frames import frame_planes

log = logging.getLogger(__name__)

_MODULE = "services.hw_encode.encoder_process"
_OPEN_SECONDS = 15.0  # a start of Python on a busy edge host, and a card that wakes up
_PICTURE_SECONDS = 3.0  # several times what the slowest software encoder takes for one of 4K; a live one is 10 ms
_END_SECONDS = 1.0  # for a killed process to be gone; a driver can hold one in the kernel for longer
_READ_BYTES = 1 << 18
_LINES_KEPT, _LINES_LOGGED, _LINE_BYTES = 3, 20, 400  # of what a driver writes: a flood tells no more
_answer_decoder = msgspec.msgpack.Decoder(Answer)


class EncoderChild:
    """A process that takes one encoder, and then is its `Codec`. One thread at a time."""

    keeps_input = False  # each picture is copied over

    def __init__(self) -> None:
        """Start it; it is of use as soon as it is made, and quick once Python has started in it.

        The thread that calls must live as long as the process is needed.

        Raises:
            OSError: no more processes or descriptors.
        """
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", _MODULE],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for the service
                )
            except OSError:
                self._socket.close()
                raise
        assert self._process.stderr is not None
        self._stderr = self._process.stderr.fileno()
        os.set_blocking(self._stderr, False)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._stderr, select.POLLIN)
        self._poll.register(self._socket, select.POLLIN)
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._logged = 0
        self._memory: mmap.mmap | None = None
        self._form = ("", 0, 0)
        self._slot = 0
        self._closed = False
        self._name = "none yet"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._closed and self._process.poll() is None

    def open(
        self,
        kind: EncoderKind,
        spec: RenditionSpec,
        width: int,
        height: int,
        fps: float,
        colour_space: ColourSpace = UNSPECIFIED,
    ) -> None:
        """Have it open this encoder; another may be asked for after an error that is not its death.

        Raises:
            EncoderFailed: this encoder does not work here, or not with these parameters.
        """
        self._name = kind.name
        size = SLOTS * slot_bytes(width, height)
        descriptor = os.memfd_create("framemesh-pictures", os.MFD_CLOEXEC)
        try:
            os.posix_fallocate(descriptor, 0, size)  # too little memory is an error here, not a signal later
            self._memory = mmap.mmap(descriptor, size)
            job = OpenEncoder(kind=kind.name, spec=spec, width=width, height=height, fps=fps, colour_space=colour_space)
            # Some hundred bytes into an empty socket: they go at once.
            with self._death_explained():
                socket.send_fds(self._socket, [message(job)], [descriptor])
        except OSError as error:
            raise EncoderFailed(f"no memory for pictures of {width}x{height}: {error.strerror}") from error
        finally:
            os.close(descriptor)
        self._form, self._slot = (kind.pixel_format, width, height), 0
        self._answered(_OPEN_SECONDS)

    def encode(self, picture: VideoFrame) -> list[Encoded]:
        pixel_format, width, height = self._form
        assert self._memory is not None  # open() has been called
        place, length = self._slot, slot_bytes(width, height)
        array = np.frombuffer(self._memory, np.uint8, length, place * length)
        # The one copy into the other process: it must not hold a slot of the ring, nor be able to write to one.
        for target, source in zip(
            slot_planes(array, pixel_format, width, height),
            frame_planes(picture, layout_of(pixel_format)),
            strict=True,
        ):
            np.copyto(target, source)
        assert picture.pts is not None  # whoever gives pictures times them
        return self._ask(EncodeSlot(place, picture.pts, picture.pict_type == PictureType.I))

    def finish(self) -> list[Encoded]:
        try:
            return self._ask(None)
        finally:
            self.close()

    def close(self) -> None:
        """End it now."""
        if self._closed:
            return
        self._closed = True
        self._process.kill()
        self._socket.close()
        self._memory = None  # unmapped with the last view of it
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # the kernel ends it when the driver lets go of it
            log.error("encoder process %d (%s) hangs in the kernel", self._process.pid, self._name)
        with contextlib.suppress(OSError):
            self._hear_stderr()
        if self._process.stderr:
            self._process.stderr.close()

    def _ask(self, asked: EncodeSlot | None) -> list[Encoded]:
        with self._death_explained():
            self._socket.sendall(message(asked))  # a dozen bytes, and the process waits for them
        return self._answered(_PICTURE_SECONDS)

    def _answered(self, patience_seconds: float) -> list[Encoded]:
        """Wait for its answer.

        Raises:
            EncoderFailed: it says so, has died, or takes too long.
        """
        deadline = time.monotonic() + patience_seconds
        read = bytearray()
        while True:
            if len(read) >= LENGTH_BYTES:
                end = LENGTH_BYTES + int.from_bytes(read[:LENGTH_BYTES], "big")
                if len(read) >= end:
                    break
            events = dict(self._poll.poll(max(0.0, deadline - time.monotonic()) * 1_000))
            # A driver that writes without end is heard, and yet has no more time than others.
            if not events or (self._socket.fileno() not in events and time.monotonic() >= deadline):
                self.close()
                raise EncoderFailed(f"hung: no answer within {patience_seconds:g} s", died=True)
            if self._stderr in events and not self._hear_stderr():
                self._poll.unregister(self._stderr)
            if self._socket.fileno() in events:
                with self._death_explained():
                    data = self._socket.recv(_READ_BYTES)
                    if not data:
                        raise ConnectionResetError
                read += data
        try:
            answer = _answer_decoder.decode(memoryview(read)[LENGTH_BYTES:])
        except msgspec.MsgspecError as error:  # its memory is not its own any more
            self.close()
            raise EncoderFailed(f"it answers nonsense: {error}", died=True) from error
        if answer.error:
            self._memory = None  # a process that is kept for the next one keeps no pictures' memory
            raise EncoderFailed(answer.error)
        self._slot = answer.slot
        return list(answer.packets)

    @contextlib.contextmanager
    def _death_explained(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            raise self._dead() from error

    def _dead(self) -> EncoderFailed:
        self.close()
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with code {code}"
        last = f": {self._said[-1]}" if self._said else ""
        return EncoderFailed(f"its process ended {how}{last}"[:200], died=True)

    def _hear_stderr(self) -> bool:
        """Log what it wrote; False at its end."""
        try:
            data = os.read(self._stderr, _READ_BYTES)
        except BlockingIOError:
            return True
        for line in data.decode(errors="replace").splitlines():
            self._said.append(line[:_LINE_BYTES])
            self._logged += 1
            if self._logged <= _LINES_LOGGED:
                log.warning("encoder process of %s: %s", self._name, line[:_LINE_BYTES])
        return bool(data)
