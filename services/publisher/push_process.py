"""The process that talks to one push's peer: packets come through standard input, reports go out of standard output.

A process, because PyAV holds the interpreter's lock for as long as libav takes to end a stream, which a peer that
has stopped reading makes several timeouts long; and because a process can be killed whatever libav waits for.
"""

import signal
import sys

import av
import msgspec

from schemas.packets import Track
from services.publisher.failures import explain_network
from services.publisher.push_wire import PushJob, PushPacket, PushReport, read_job, read_packets
from shared.media.mux import Muxer, network_options
from shared.urls import redact

_NANOSECONDS = 1_000_000_000
# A packet given to the muxer passes two queues of one packet each, and the sorting of tracks, before the next one
# waits for the peer: when so many of every track got through, the peer has answered.
_CONFIRMING_PACKETS = 4
# Without sound on an open sound track the sorting lets pictures through after 0.5 s; then this much tells.
_CONFIRMING_NS = _NANOSECONDS


class _Confirmation:
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


def main() -> int:
    """Push until the input ends (0) or the peer fails (1)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends the input
    pipe = sys.stdin.buffer
    try:
        job = read_job(pipe)
    except EOFError:
        return 1
    confirmation = _Confirmation(job)
    try:
        # The fifo muxer hands libav's protocols the options that PyAV itself does not, the deadline among them.
        muxer = Muxer(job.url, "fifo", job.tracks, network_options(job.container_format, job.options))
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
                _report(PushReport())
        muxer.close()
    except (OSError, ValueError, av.FFmpegError) as error:
        shown = redact(job.url, stream_key=True)[0]
        _report(PushReport(error=explain_network(error, shown, job.url, job.timeout_seconds).info))
        return 1
    return 0


def _report(report: PushReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
