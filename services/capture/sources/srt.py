"""srt://host:port or srt://:port?mode=listener : received by an `ffmpeg -c copy` child, as PyAV's libav has no SRT.

Options are those of libav's protocol: `mode`, `latency` (µs), `passphrase`, `streamid` and so on.

The child reads the URL from its standard input, as a list of one file to be played: its command line, which every
user of the machine may read, has neither passphrase nor stream id.
"""

import contextlib
import math
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from urllib.parse import parse_qsl, urlsplit

import av

from schemas.errors import Unavailable
from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.container import ContainerPlayer
from services.capture.sources.container_source import ContainerSource
from services.capture.sources.udp_socket import listen_at
from shared.netguard import Policy, check, explain_av_error
from shared.netguard.libav import ANY_TEXT
from shared.parent import killed_with_parent
from shared.urls import scrub

# Both ends look at the stream until its first key picture, as at every live source; together below the open timeout.
# The child keeps what it looked at and passes it on.
_LIST = "ffconcat version 1.0\nfile '{url}'\noption fpsprobesize 0\noption analyzeduration 3000000\n"
_PROBING = {"fpsprobesize": "0", "analyzeduration": "500000"}
_ARGUMENTS = (
    "-nostdin", "-loglevel", "error", "-fpsprobesize", "0", "-analyzeduration", "500000",
    "-f", "concat", "-safe", "0", "-protocol_whitelist", "pipe,srt,udp", "-i", "pipe:0",
    # NUT and not MPEG-TS, whose reader would keep every picture until the next one begins: 40 ms at 25 pictures/s.
    # The delta: a picture does not wait for sound of its time, 0 would mean for ever.
    "-map", "0:v?", "-map", "0:a?", "-c", "copy", "-max_interleave_delta", "1",
    "-f", "nut", "-flush_packets", "1", "pipe:1",
)  # fmt: skip
_LAST_LINES = 5
_LOOK_SECONDS = 0.2  # how often a wait looks at the stop event, which is no descriptor
_SMALL_BYTES = 4096  # for a socket that is closed at once
_WHO = re.compile(
    r"^(\[[^\]]*\] |[\d:.]+/SRT:\S+ )+"
)  # "[srt @ 0x55f9767a3200] ", "09:27:25.390947/SRT:RcvQ:w1!W:SRT.cn: "
_TERMINATE_SECONDS = 2.0


class SrtSource(ContainerSource):
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        super().__init__(spec, url, settings)
        self.listens = ("mode", "listener") in parse_qsl(urlsplit(url).query)

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        guarded = check(self.url, Policy(schemes=frozenset(("srt",)), allow_private=True, listens=True), field="source")
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg is None:
            raise Unavailable("srt sources need the ffmpeg program (Debian package ffmpeg) in PATH")
        if self.listens:
            listen_at(guarded, room_bytes=_SMALL_BYTES).close()  # libsrt does not say that the port is in use
            if not sink.arrivals.last_ns:  # later on it is a sender that was lost, and shown as that
                sink.waiting(f"a sender at UDP port {guarded.port}")
        child = subprocess.Popen(
            [ffmpeg, *_ARGUMENTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=killed_with_parent,  # noqa: PLW1509  # one system call; this thread outlives the child
        )
        _tell(child, guarded.pinned)
        last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        listener = threading.Thread(target=_keep_lines, args=(child, last_lines), daemon=True)
        listener.start()
        try:
            self._play(child, sink, stop)
        finally:
            _end(child)
            listener.join(timeout=1)
        if not stop.is_set():
            said = scrub(_said(last_lines) or "the sender ended the stream", [self.url])
            raise Unavailable(f"source {self.spec.source}: {said}")

    def _play(self, child: subprocess.Popen[bytes], sink: StreamSink, stop: threading.Event) -> None:
        open_seconds = math.inf if self.listens else self.settings.open_timeout_seconds
        pipe = _Pipe(child, open_seconds, self.settings.read_timeout_seconds, stop)
        try:
            container = av.open(pipe, "r", format="nut", options=_PROBING, metadata_errors=ANY_TEXT)
        except (av.FFmpegError, ValueError) as error:
            if pipe.ended:
                return
            raise explain_av_error(error, self.spec.source) from None
        with container:
            player = ContainerPlayer(container, self.spec, self.spec.source, paced=False)
            player.announce(sink)
            player.play(sink, stop)


def _tell(child: subprocess.Popen[bytes], url: str) -> None:
    """Hand the URL over, quoted as https://ffmpeg.org/ffmpeg-utils.html#Quoting-and-escaping wants it."""
    assert child.stdin is not None
    listed = _LIST.format(url=url.replace("'", r"'\''"))
    with contextlib.suppress(BrokenPipeError), child.stdin:  # it has ended already, and says why on stderr
        child.stdin.write(listed.encode())


class _Pipe:
    """The child's output as a file that gives up after a while, so that nothing hangs on a silent sender."""

    def __init__(
        self, child: subprocess.Popen[bytes], open_seconds: float, read_seconds: float, stop: threading.Event
    ) -> None:
        assert child.stdout is not None
        self._fd = child.stdout.fileno()
        self._poll = select.poll()  # not select, which knows no descriptor above 1023
        self._poll.register(self._fd, select.POLLIN)
        self._read_seconds = read_seconds
        self._deadline = time.monotonic() + open_seconds
        self._stop = stop
        self.ended = False

    def read(self, size: int) -> bytes:
        while not self._stop.is_set():
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            if self._poll.poll(min(left, _LOOK_SECONDS) * 1000):
                data = os.read(self._fd, size)
                self._deadline = time.monotonic() + self._read_seconds
                self.ended = not data
                return data
        self.ended = True
        return b""


def _keep_lines(child: subprocess.Popen[bytes], lines: "deque[str]") -> None:
    assert child.stderr is not None
    for line in child.stderr:
        lines.append(line.decode(errors="replace").strip())


def _said(lines: "deque[str]") -> str:
    """What ffmpeg says first is what went wrong; it repeats it with less detail."""
    return _WHO.sub("", lines[0]) if lines else ""


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(_TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
