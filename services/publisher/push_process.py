"""The process that talks to one push's peer: packets come through standard input, reports go out of standard output.

A process, because PyAV holds the interpreter's lock for as long as libav takes to end a stream, which a peer that
has stopped reading makes several timeouts long; and because a process can be killed whatever libav waits for.
"""

import signal
import sys

import av

from services.publisher.confirmation import muxed
from services.publisher.failures import explain_network
from services.publisher.push_wire import PushReport, read_job, write_report
from shared.media.mux import Muxer, network_options
from shared.urls import redact


def main() -> int:
    """Push until the input ends (0) or the peer fails (1)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends the input
    pipe = sys.stdin.buffer
    try:
        job = read_job(pipe)
    except EOFError:
        return 1
    try:
        # The fifo muxer hands libav's protocols the options that PyAV itself does not, the deadline among them.
        muxer = Muxer(job.url, "fifo", job.tracks, network_options(job.container_format, job.options))
        for _ in muxed(job, pipe, muxer):
            pass
        muxer.close()
    except (OSError, ValueError, av.FFmpegError) as error:
        shown = redact(job.url, stream_key=True)[0]
        write_report(PushReport(error=explain_network(error, shown, job.url, job.timeout_seconds).info))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
