"""The process that sends one rendition as MPEG-TS in datagrams; its input and output are those of `push_process`.

A process, because libsrt waits for the peer and brings threads of its own: it can be killed whatever it waits for.
"""

import signal
import sys
import time
from urllib.parse import urlsplit

import av

from schemas.errors import MeshError
from services.publisher.confirmation import muxed
from services.publisher.datagram_sink import DatagramSink
from services.publisher.failures import explain_network
from services.publisher.push_wire import PushJob, PushReport, read_job, write_report
from services.publisher.srt_sender import SrtSender
from services.publisher.transport_options import srt_options, udp_options
from services.publisher.udp_sender import UdpSender
from shared.media.mux import Muxer
from shared.urls import redact

_DROPS_SECONDS = 1.0  # how often what SRT dropped is told


def main() -> int:
    """Send until the input ends (0) or the peer fails (1)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends the input
    pipe = sys.stdin.buffer
    try:
        job = read_job(pipe)
    except EOFError:
        return 1
    shown = redact(job.url)[0]
    try:
        sender, datagram_bytes = _sender(job, shown)
        muxer = Muxer(DatagramSink(sender.send, datagram_bytes), job.container_format, job.tracks, job.options)
        told_at = time.monotonic()
        for _ in muxed(job, pipe, muxer):
            if isinstance(sender, SrtSender) and time.monotonic() - told_at >= _DROPS_SECONDS:
                told_at = time.monotonic()
                if dropped := sender.newly_dropped():
                    write_report(PushReport(dropped=dropped))
        muxer.close()
        sender.close()
    except (MeshError, OSError, ValueError, av.FFmpegError) as error:
        write_report(PushReport(error=explain_network(error, shown, job.url, job.timeout_seconds).info))
        return 1
    return 0


def _sender(job: PushJob, shown: str) -> tuple[SrtSender | UdpSender, int]:
    """Connected, where there is a connection; and how large its datagrams are. The URL has an address for its host."""
    parts = urlsplit(job.url)
    assert parts.hostname is not None
    assert parts.port is not None
    if parts.scheme == "srt":
        srt = srt_options(job.url, shown)
        return SrtSender(parts.hostname, parts.port, srt, shown, job.timeout_seconds), srt.datagram_bytes
    udp = udp_options(job.url, shown)
    return UdpSender(parts.hostname, parts.port, udp, shown, job.timeout_seconds), udp.datagram_bytes


if __name__ == "__main__":
    sys.exit(main())
