"""One SCTP association over our DTLS: aiortc's state machine, behind a gate and within a share of our time."""

import logging
import time
from collections.abc import Callable, Coroutine
from struct import error as StructError
from typing import Any, cast

from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.sctp_gate import MAX_STREAMS, Expected, refuse

logger = logging.getLogger(__name__)

SCTP_PORT = 5000  # the one that every WebRTC peer uses; no other association shares our DTLS
_RECEIVE_WINDOW_BYTES = 512 * 1024  # two of the largest messages; as many 1 KiB chunks as the gate's window
_MAX_HELD_BYTES = 2 * _RECEIVE_WINDOW_BYTES  # a peer that sends this much in spite of the window is hostile
# A packet costs 0.1-0.5 ms of Python, so one page could keep the gateway busy. What it may use of a core, as a share;
# what comes beyond that is lost, and SCTP sends it again later.
_CPU_SHARE = 0.2
_CPU_BURST_SECONDS = 0.2
# What the parser and the state machine raise at nonsense that is within the bounds: aiortc asserts where it should
# refuse. It ends the association, never the session.
_VIOLATIONS = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, StructError)


class Association(RTCSctpTransport):
    """Driven by `receive`; calls `on_end` once when it ends, with the reason, but not after `close`."""

    def __init__(
        self, send: Callable[[bytes], None], counters: DataCounters, all_cpu: Rate, on_end: Callable[[str], None]
    ) -> None:
        """`send` takes one SCTP packet; `all_cpu` is what the associations of all sessions may use."""
        # The transport is ours: only what `_Link` has is used.
        super().__init__(cast(RTCDtlsTransport, _Link(send)), SCTP_PORT)
        self._advertised_rwnd = _RECEIVE_WINDOW_BYTES
        self._inbound_streams_max = self._outbound_streams_count = MAX_STREAMS
        self._counters, self._on_end = counters, on_end
        self._all_cpu, self._cpu = all_cpu, Rate(_CPU_SHARE, _CPU_BURST_SECONDS)
        self._ended = False

    @property
    def waiting(self) -> int:
        """Messages that have not been handed to the transport yet."""
        return len(self._data_channel_queue)

    def begin(self, remote_port: int, remote_max_message_bytes: int) -> None:
        """Send INIT; the DTLS handshake is done. 0 bytes: the peer takes messages of any size."""
        if not self._ended:
            _run(self.start(RTCSctpCapabilities(maxMessageSize=remote_max_message_bytes), remote_port))

    def receive(self, packet: bytes) -> None:
        """Take one packet of the peer's."""
        if self._ended or self.state == "new":
            return
        if self._cpu.left <= 0 or self._all_cpu.left <= 0:
            self._counters.packets_refused["busy"] += 1
            return
        began_s = time.thread_time()
        try:
            self._take(packet)
        finally:
            used_s = time.thread_time() - began_s
            self._cpu.spend(used_s)
            self._all_cpu.spend(used_s)

    def close(self) -> None:
        """Abort: the peer is told, every channel is closed. `on_end` is not called."""
        self._end("")

    def _take(self, packet: bytes) -> None:
        established = self._association_state == self.State.ESTABLISHED
        why = refuse(packet, Expected(established, self._last_received_tsn, self._local_tsn))
        if why:
            self._counters.packets_refused[why] += 1
            return
        try:
            _run(self._handle_data(packet))
        except _VIOLATIONS as error:
            logger.info("data channels closed: the peer violates SCTP (%s %s)", type(error).__name__, error)
            self._end("violation")
            return
        if _RECEIVE_WINDOW_BYTES - self._advertised_rwnd > _MAX_HELD_BYTES:
            self._end("violation")
        elif self.state == "closed":
            self._end("aborted")

    def _end(self, why: str) -> None:
        if self._ended:
            return
        self._ended = True
        _run(self.stop())
        # A retransmission that is due already would start the timer of a transport that is closed.
        self._sent_queue.clear()
        self._outbound_queue.clear()
        self._data_channel_queue.clear()
        self._forward_tsn_chunk = None
        if why:
            self._counters.ended[why] += 1
            self._on_end(why)


class _Link:
    """What aiortc's SCTP uses of a DTLS transport."""

    state = "connected"
    _role = "server"  # of the DTLS handshake; the numbers of our own channels are odd (RFC 8832 section 6)

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    async def _send_data(self, data: bytes) -> None:
        self._send(data)

    def _register_data_receiver(self, receiver: object) -> None:
        """Records come through `Association.receive`."""

    def _unregister_data_receiver(self, receiver: object) -> None:
        """As above."""


def _run(step: Coroutine[Any, Any, None]) -> None:
    """Run a step of the state machine to its end at once: it waits for nothing but `_Link`, which never waits.

    So no two steps ever mix, and packets need no queue.
    """
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise RuntimeError("a step of the SCTP association waited")
