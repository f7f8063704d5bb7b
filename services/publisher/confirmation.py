"""When a push's peer may be taken to have answered, as libav does not say it."""

from collections.abc import Iterator
from typing import BinaryIO

from schemas.packets import Track
from schemas.units import NS_PER_SECOND
from services.publisher.push_wire import PushJob, PushPacket, PushReport, read_packets, write_report
from shared.media.mux import Muxer

# A packet given to the muxer passes two queues of one packet each, and the sorting of tracks, before the next one
# waits for the peer: when so many of every track got through, the peer has answered.
_CONFIRMING_PACKETS = 4
# Without sound on an open sound track the sorting lets pictures through after 0.5 s; then this much tells.
_CONFIRMING_NS = NS_PER_SECOND


class Confirmation:
    """Finds out from what got through whether the peer has answered."""

    def __init__(self, job: PushJob) -> None:
        self._packets: dict[Track, int] = dict.fromkeys(job.tracks, 0)
        self.done = False

    def note(self, packet: PushPacket) -> bool:
        """Whether it is this packet that tells."""
        self._packets[packet.track] += 1
        if self.done or self._packets["video"] < _CONFIRMING_PACKETS:
            return False
        self.done = min(self._packets.values()) >= _CONFIRMING_PACKETS or packet.dts_ns >= _CONFIRMING_NS
        return self.done


def muxed(job: PushJob, pipe: BinaryIO, muxer: Muxer) -> Iterator[None]:
    """Give `muxer` the packets until the service ends them, and tell it when the peer has answered; one step each.

    Raises:
        av.FFmpegError, OSError: the peer failed, perhaps at an earlier packet.
    """
    confirmation = Confirmation(job)
    for packet, payload in read_packets(pipe):
        muxer.write(
            packet.track,
            payload,
            pts_ns=packet.pts_ns,
            dts_ns=packet.dts_ns,
            duration_ns=packet.duration_ns,
            key=packet.key,
        )
        if confirmation.note(packet):
            write_report(PushReport())
        yield
