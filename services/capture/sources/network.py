"""rtsp:// rtmp:// http(s):// : a source on the network, pulled by libav.

A file behind HTTP is played at its own speed, again from the start unless `loop` is false.

A live HLS playlist is played at its own speed from the last segment but one, so its pictures are two to three segments
old; when the server is late once, by so much more from then on. What it offers again when it is opened again is left
out. Everything else live is passed on as it comes.
"""

import logging
import threading
import time
from typing import TYPE_CHECKING, Literal

from schemas.errors import BadRequest, MeshError, Unavailable
from services.capture.sink import StreamSink
from services.capture.sources.container import PROBING, ContainerPlayer, Timeline
from services.capture.sources.container_source import ContainerSource
from services.capture.sources.replay import Replay
from shared.media.pacing import Pacer
from shared.netguard import (
    GuardedUrl,
    HttpReader,
    Keep,
    KeptBody,
    Policy,
    Timeouts,
    check,
    interruptible,
    open_input,
)

if TYPE_CHECKING:
    from av.container import InputContainer

log = logging.getLogger(__name__)

SCHEMES = frozenset(("rtsp", "rtsps", "rtmp", "http", "https"))
Transport = Literal["tcp", "udp"]

_RTSP = {
    **PROBING,
    "max_delay": "100000",  # µs a lost packet is waited for over UDP; a whole picture must not wait in the demuxer
    "buffer_size": str(2 << 20),  # the kernel's, over UDP: a key picture of 4K comes at once
}
# With both, libav takes TCP, and UDP when the camera answers 461 Unsupported Transport.
_TRANSPORTS: dict[Transport, dict[str, str]] = {
    "tcp": {"rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp"},
    "udp": {"rtsp_transport": "udp"},
}
# Until a key picture has told its size and colours libav looks; that one is kept, as the next may be seconds away.
_WHOLE = {name: value for name, value in PROBING.items() if name != "fflags"}
_OPTIONS: dict[str, dict[str, str]] = {
    "rtmp": {**_WHOLE, "rtmp_live": "live", "analyzeduration": "10500000"},
    # RFC 8216 wants three segments; the pacer finds by itself the delay that a server needs.
    "http": {**_WHOLE, "live_start_index": "-2"},
    "https": {**_WHOLE, "live_start_index": "-2"},
}
_FILE_OPTIONS = {"live_start_index": _OPTIONS["http"]["live_start_index"]}  # a playlist is a file of some length, too
# A server that is joined within a group of pictures sends sound alone until the next key picture, and tracks that libav
# has not seen by then it never will. Encoders left to themselves make one in 250 pictures: every 10 s.
_RTMP_OPEN_SECONDS = 11.5
# Streams, with their source, whose camera sent nothing over TCP: there UDP is tried first.
_MAX_REMEMBERED = 1024  # forgotten together, and found out again
_by_udp: dict[str, str] = {}
# Of live playlists, by stream and source: a new attempt is a new source object.
_replays: dict[tuple[str, str], Replay] = {}
_MIN_TURN_SECONDS = 0.04  # a file without any duration must not be asked for thousands of times a second


class NetworkSource(ContainerSource):
    _recorded = False
    """It has an end."""

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        policy = Policy(schemes=SCHEMES, allow_private=not self.spec.public_only, file_roots=())
        guarded = check(self.url, policy, field="source")
        try:
            with interruptible(stop):
                if guarded.scheme in ("rtsp", "rtsps"):
                    self._play_rtsp(guarded, sink, stop)
                else:
                    self._play(guarded, _OPTIONS[guarded.scheme], sink, stop)
        except MeshError:
            if not stop.is_set():  # otherwise it is the interruption
                raise
        if not stop.is_set() and not self._recorded:
            raise Unavailable(f"source {self.spec.source}: the sender ended the stream")

    def _play_rtsp(self, guarded: GuardedUrl, sink: StreamSink, stop: threading.Event) -> None:
        if self.spec.transport != "auto" or guarded.scheme == "rtsps":  # TLS goes over TCP only
            transport = "tcp" if guarded.scheme == "rtsps" else self.spec.transport
            self._play(guarded, {**_RTSP, "rtsp_transport": transport}, sink, stop)
            return
        transports: tuple[Transport, ...] = ("tcp", "udp")
        if _by_udp.get(self.spec.stream) == self.spec.source:
            transports = ("udp", "tcp")
        for transport in transports:
            began = time.monotonic()
            try:
                self._play(guarded, {**_RTSP, **_TRANSPORTS[transport]}, sink, stop)
            except Unavailable:
                silent = time.monotonic() - began >= min(
                    self.settings.open_timeout_seconds, self.settings.read_timeout_seconds
                )
                if transport == transports[-1] or sink.arrivals.first_at is not None or not silent or stop.is_set():
                    raise
                log.info("nothing comes over %s", transport, extra={"stream": self.spec.stream})
            else:
                return
            finally:
                if sink.arrivals.first_at is not None:
                    self._remember(transport)

    def _remember(self, transport: Transport) -> None:
        _by_udp.pop(self.spec.stream, None)
        if transport == "udp":
            if len(_by_udp) >= _MAX_REMEMBERED:
                _by_udp.clear()
            _by_udp[self.spec.stream] = self.spec.source

    def _play(self, guarded: GuardedUrl, options: dict[str, str], sink: StreamSink, stop: threading.Event) -> None:
        timeline, pacer, announced = Timeline(), Pacer(), False
        while True:
            began = time.monotonic()
            with self._open(guarded, options) as container:
                self._recorded = _recorded(container)
                live_playlist = container.format.name == "hls" and not self._recorded
                player = ContainerPlayer(
                    container,
                    self.spec,
                    self.spec.source,
                    paced=self._recorded or live_playlist,
                    timeline=timeline,
                    pacer=pacer,
                    replay=self._replay(sink) if live_playlist else None,
                    from_key="fflags" not in options and not self._recorded,
                )
                if not announced:
                    player.announce(sink)
                    announced = True
                self._turn(player, sink, stop)
                while self._again(stop, began) and _rewound(container, player):
                    began = time.monotonic()
                    self._turn(player, sink, stop)
            if not self._again(stop, began):
                return
            timeline.restart()

    def _open(self, guarded: GuardedUrl, options: dict[str, str]) -> "InputContainer":
        open_seconds = self.settings.open_timeout_seconds
        if guarded.scheme == "rtmp":
            open_seconds = max(open_seconds, _RTMP_OPEN_SECONDS)
        timeouts = Timeouts(open_seconds, self.settings.read_timeout_seconds)
        keep = Keep(self.settings.data_dir, self.settings.kept_file_bytes, self.settings.min_free_bytes)
        # Of a file nothing is left out to be quick: its first picture may be the only key picture.
        return open_input(guarded, options=options, file_options=_FILE_OPTIONS, timeouts=timeouts, keep=keep)

    def _turn(self, player: ContainerPlayer, sink: StreamSink, stop: threading.Event) -> None:
        """From the beginning to the end.

        Raises:
            BadRequest: it is a file, and there is nothing in it to see or hear.
        """
        before = sink.arrivals.bytes
        player.play(sink, stop)
        if self._recorded and sink.arrivals.bytes == before and not stop.is_set():
            raise BadRequest(f"source {self.spec.source}: there is no picture and no sound in it; give another file")

    def _again(self, stop: threading.Event, began: float) -> bool:
        if not self._recorded or not self.spec.loop:
            return False
        return not stop.wait(max(0.0, began + _MIN_TURN_SECONDS - time.monotonic()))

    def _replay(self, sink: StreamSink) -> Replay:
        """What this stream has played of its playlist; nothing yet when it was started afresh."""
        key = (self.spec.stream, self.spec.source)
        if not sink.arrivals.pictures or key not in _replays:
            if len(_replays) >= _MAX_REMEMBERED:
                _replays.clear()
            _replays[key] = Replay()
        return _replays[key]


def _recorded(container: "InputContainer") -> bool:
    """A file, and a playlist with an end, come as fast as they can; a live body at its own speed, for ever."""
    known = container.duration is not None and container.duration > 0
    if container.format.name == "hls":
        return known
    reader = container.file.file if container.file else None
    return isinstance(reader, HttpReader | KeptBody) and (known or not reader.endless)


def _rewound(container: "InputContainer", player: ContainerPlayer) -> bool:
    """At its beginning again; False: it has to be asked for once more."""
    reader = container.file.file if container.file else None
    if container.format.name == "hls" or not isinstance(reader, HttpReader | KeptBody) or not reader.seekable():
        return False
    try:
        player.rewind()
    except MeshError:
        return False
    return True
