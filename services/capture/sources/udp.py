"""udp://:5000 or udp://239.1.2.3:5000 : an MPEG transport stream that is sent to this machine or to a multicast group.

Options, as libav names them: `buffer_size` (bytes the kernel keeps), `fifo_size` (the same in packets of 188 bytes),
`reuse=1` (others may listen at the port too; groups always may), `localaddr` (the interface a group is joined at),
`overrun_nonfatal` (it never is fatal here) and `pkt_size` (any is taken).
"""

import ipaddress
import logging
import select
import socket
import struct
import threading
import time
from urllib.parse import parse_qsl, urlsplit

import av
import msgspec

from schemas.errors import InvalidValue, Unavailable
from schemas.resources import StreamSpec
from services.capture.sink import StreamSink
from services.capture.sources.container import PROBING, ContainerPlayer
from services.capture.sources.container_source import ContainerSource
from services.capture.sources.udp_socket import listen_at
from shared.netguard import GuardedUrl, Policy, check, explain_av_error
from shared.netguard.libav import ANY_TEXT

log = logging.getLogger(__name__)

_TS_PACKET_BYTES = 188
_BUFFER_BYTES = 4 << 20  # 1.6 s of 20 Mbit/s: a machine that is busy for a moment loses nothing
_MAX_BUFFER_BYTES = 256 << 20
_MAX_DATAGRAM_BYTES = 65_536
_MAX_BATCH = 256  # datagrams between two looks at the stop event, however many strangers send
_LOOK_SECONDS = 0.1  # how often a wait looks at the stop event, which is no descriptor
_TAKEOVER_SECONDS = 1.0  # a sender that is silent for so long may be replaced by another
_LOST_EVERY_SECONDS = 10.0  # one line of log about lost datagrams
_SO_MEMINFO, _MEMINFO_BYTES = 55, 36  # nine counters of 32 bits, the last: datagrams that found no room


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    buffer_size: int = 0
    fifo_size: int = 0
    reuse: bool = False
    localaddr: str = ""
    overrun_nonfatal: bool = True
    pkt_size: int = 0

    @property
    def buffer_bytes(self) -> int:
        asked = max(self.buffer_size, self.fifo_size * _TS_PACKET_BYTES)
        return min(asked, _MAX_BUFFER_BYTES) or _BUFFER_BYTES


class UdpSource(ContainerSource):
    listens = True

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: an option that there is not, or with a value that is none.
        """
        parse_options(spec.source, spec.source)

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        policy = Policy(schemes=frozenset(("udp",)), allow_private=True, listens=True)
        guarded = check(self.url, policy, field="source")
        with Receiver(
            guarded, parse_options(self.url, self.spec.source), self.settings.read_timeout_seconds, stop
        ) as receiver:
            if not sink.arrivals.last_ns:  # later on it is a sender that was lost, and shown as that
                sink.waiting(f"a sender at UDP port {guarded.port}")
            if not receiver.wait():
                return
            self._play(receiver, sink, stop)
        if not stop.is_set():
            raise Unavailable(f"source {self.spec.source}: the sender ended the stream")

    def _play(self, receiver: "Receiver", sink: StreamSink, stop: threading.Event) -> None:
        try:
            container = av.open(receiver, "r", format="mpegts", container_options=PROBING, metadata_errors=ANY_TEXT)
        except (av.FFmpegError, ValueError, Unavailable) as error:
            if stop.is_set():
                return
            raise explain_av_error(error, f"source {self.spec.source}", [self.url]) from None
        with container:
            player = ContainerPlayer(container, self.spec, self.spec.source, paced=False)
            player.announce(sink)
            player.play(sink, stop)


class Receiver:
    """The datagrams of one sender, as a file that libav reads; others that send to the port are not heard."""

    name = "udp"

    def __init__(self, guarded: GuardedUrl, query: _Query, silent_seconds: float, stop: threading.Event) -> None:
        """Raises:
        Conflict: the port is in use.
        Unavailable: it cannot be listened at.
        """
        self._shown, self._stop, self._silent_seconds = guarded.shown, stop, silent_seconds
        self._socket = listen_at(guarded, room_bytes=query.buffer_bytes, shared=query.reuse, interface=query.localaddr)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._sender: tuple[object, ...] = ()
        self.heard_at = time.monotonic()
        """When the sender was heard last, in monotonic seconds."""
        self._kept = b""
        self._others = False
        self._lost, self._lost_said_at = 0, 0.0

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_: object) -> None:
        self._say_lost()
        self._socket.close()

    def wait(self) -> bool:
        """Until a sender has begun; False: stopped before."""
        while not self._stop.is_set():
            if self._poll.poll(_LOOK_SECONDS * 1000):
                self.heard_at = time.monotonic()
                return True
        return False

    def read(self, size: int) -> bytes:
        """What has come, at least something; nothing when stopped.

        Raises:
            Unavailable: the sender is silent, or another one has begun in its place.
        """
        while not self._stop.is_set():
            data = self._kept or self._receive(size)
            if data:
                self._kept = data[size:]
                return data[:size]
            left_seconds = self.heard_at + self._silent_seconds - time.monotonic()
            if left_seconds <= 0:
                raise Unavailable(f"source {self._shown}: nothing has come for {self._silent_seconds:g} s")
            self._poll.poll(min(_LOOK_SECONDS, left_seconds) * 1000)
        return b""

    def _receive(self, size: int) -> bytes:
        """Every datagram that is there, up to about `size` bytes."""
        datagrams: list[bytes] = []
        received = 0
        for _ in range(_MAX_BATCH):
            if received >= size:
                break
            try:
                datagram, sender = self._socket.recvfrom(_MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            if sender != self._sender and not self._admit(sender):
                continue
            datagrams.append(datagram)
            received += len(datagram)
        if datagrams:
            now = self.heard_at = time.monotonic()
            if now - self._lost_said_at > _LOST_EVERY_SECONDS:
                self._lost_said_at = now
                self._say_lost()
        return datagrams[0] if len(datagrams) == 1 else b"".join(datagrams)

    def _admit(self, sender: tuple[object, ...]) -> bool:
        """The first sender has the port, until it is silent: two streams mixed are none."""
        if not self._sender:
            self._sender = sender
            return True
        if time.monotonic() - self.heard_at >= _TAKEOVER_SECONDS:
            raise Unavailable(f"source {self._shown}: another sender has begun")
        if not self._others:
            self._others = True
            log.warning("%s: %s sends too and is not heard; %s was first", self._shown, sender, self._sender)
        return False

    def _say_lost(self) -> None:
        *_, lost = struct.unpack("9I", self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO_BYTES))
        if lost > self._lost:
            log.warning("%s: %d datagrams lost for want of room; raise buffer_size", self._shown, lost - self._lost)
            self._lost = lost


def parse_options(url: str, shown: str) -> _Query:
    """The options of a udp:// URL.

    Raises:
        InvalidValue: one that there is not, or with a value that is none.
    """
    try:
        query = msgspec.convert(dict(parse_qsl(urlsplit(url).query)), _Query, strict=False)
        if query.localaddr and not query.localaddr.isidentifier():
            ipaddress.ip_address(query.localaddr)
    except (msgspec.ValidationError, ValueError) as error:
        names = ", ".join(_Query.__struct_fields__)
        raise InvalidValue("source", shown, f"{error}; udp:// takes {names}") from None
    return query
