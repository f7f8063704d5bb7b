"""This end of a push process: starting it, feeding it with a deadline, hearing it, ending it."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import BinaryIO, cast

import msgspec

from schemas.errors import MeshError, Unavailable, error_from_code
from services.publisher.push_wire import PushJob, PushPacket, PushReport, frame_of_job, frame_of_packet

# libav's deadline is for one wait; ending a stream can take three (a packet, the end of the stream, the end of the
# connection). A process that has not moved for longer is killed.
_WAITS = 3
_START_SECONDS = 5.0  # Python and libav start in 0.3 s on an idle edge host
_READ_BYTES = 4_096


class PushChild:
    """One push process. One thread at a time, but `kill`, which any thread may call."""

    def __init__(self, job: PushJob, shown: str, module: str, heard: Callable[[PushReport], None]) -> None:
        """Start `module`; `shown` is the URL as it may be shown. `heard` takes each report that is no error.

        Raises:
            OSError: no more processes.
            MeshError: it has ended at once.
        """
        self._shown, self._heard_report = shown, heard
        self._patience_seconds = _START_SECONDS + _WAITS * job.timeout_seconds
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._stdin, self._stdout = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._in, self._out = self._stdin.fileno(), self._stdout.fileno()
        os.set_blocking(self._in, False)
        self._heard = b""
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._ended = False
        self.confirmed = False
        """The peer has answered and takes packets."""
        try:
            self._send(frame_of_job(job))
        except MeshError:  # nobody has this object yet who could close it
            self.close()
            raise

    def write(self, packet: PushPacket, payload: memoryview) -> None:
        """Hand over a packet; waits while the peer is slow.

        Raises:
            MeshError: why the peer takes no packets.
        """
        self._send(frame_of_packet(packet, payload))

    def finish(self) -> None:
        """Let it send what it has and end the stream; kills it when that takes too long.

        Raises:
            MeshError: the peer failed.
        """
        self._stdin.close()
        deadline = time.monotonic() + self._patience_seconds
        try:
            while not self._ended:
                if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
                    raise self._stuck()
                self._hear()
        finally:
            self.close()

    def close(self) -> None:
        """End it now, if it has not ended."""
        self._ended = True
        self.kill()
        self._stdin.close()
        self._stdout.close()
        self._process.wait()

    def kill(self) -> None:
        """Make whoever waits for it wait no longer."""
        self._process.kill()

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        self._poll.register(self._in, select.POLLOUT)
        try:
            while view:
                events = dict(self._poll.poll(self._patience_seconds * 1_000))
                if not events:
                    raise self._stuck()
                if self._out in events:
                    self._hear()
                if self._in in events:
                    with contextlib.suppress(BlockingIOError):
                        view = view[os.write(self._in, view) :]
        except BrokenPipeError:  # it has ended: it says why on its other pipe
            while True:
                self._hear()
        finally:
            self._poll.unregister(self._in)

    def _hear(self) -> None:
        """Take in what it says; raises what it complains about, or its end while it should be running."""
        data = os.read(self._out, _READ_BYTES)
        if not data:
            self._ended = True
            if self._stdin.closed:
                return
            raise Unavailable(f"{self._shown}: the process that pushes has ended")
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            report = msgspec.json.decode(line, type=PushReport)
            if report.error is not None:
                raise error_from_code(report.error.code, report.error.message)
            self.confirmed = True
            self._heard_report(report)

    def _stuck(self) -> Unavailable:
        return Unavailable(f"{self._shown}: the peer takes nothing; given up after {self._patience_seconds:g} s")
