"""What a viewer's packets cost: 1080p30 H.264 at 4.5 Mbit/s, beside aiortc as it comes and Janus's streaming plugin.

`python -m tests.bench.egress` prints two tables and writes results/egress.json; `--quick` is shorter and writes
nothing. CPU time of the server's whole process, by its own clock, over the RTP packets that its viewers received, on
loopback. Viewers are peers in another process that only empty their sockets. The gateway is the real service in a
running mesh, and a second one beside it whose datagrams the kernel does not cut (loopback flatters that). Servers are
interleaved, round by round. The parts: writing, protecting and sending, of pictures of 17 packets, without the rest.
"""

import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pylibsrtp import Policy

from services.webrtc_gateway.egress.packetizer import MAX_EXTENSION_BYTES, MAX_PAYLOAD_BYTES, RtpUnit
from services.webrtc_gateway.egress.rtp import HeaderExtensions, RtpTrack
from services.webrtc_gateway.egress.sent_record import SentRecord
from services.webrtc_gateway.transport.datagrams import DatagramSender
from services.webrtc_gateway.transport.srtp import PacketBatch, SrtpSender
from shared.rtp.h264 import packetize_h264
from tests.bench.dated import keep
from tests.bench.egress_peers import HOW_TO_GET_JANUS, JANUS, aiortc_server, answers, copied, janus_server
from tests.support.mesh import RunningMesh
from tests.support.peers import free_port, wait_until

RESULTS = Path(__file__).parent / "results" / "egress.json"
VIEWERS, QUICK_VIEWERS = (4, 16, 32), (4, 16)
ROUNDS, QUICK_ROUNDS = 3, 1
SECONDS, QUICK_SECONDS = 4.0, 3.0
SETTLE_SECONDS = 1.5  # the group of pictures that viewers start with, and their first reports
GOAL_US = 6.0
CLIP_SECONDS, FPS, BITRATE = 10, 30, "4500k"
PICTURE_BYTES = 4_500_000 // 8 // FPS
_READY_SECONDS = 20.0
_CONNECT_SECONDS = 60.0
_REPEATS, _BEST_OF = 1000, 7
_CPU_CLOCK = 2  # CPUCLOCK_SCHED, in the lowest bits of the clock's id, as clock_getcpuclockid(3) makes it

Server = tuple[int, str]
"""Process id, and where viewers ask."""


class NotConnected(Exception):
    """Viewers and server did not come together in time."""


def make_clip(path: Path) -> None:
    """Noise, so that the encoder needs the bitrate that it is given; one slice per picture, as cameras have it."""
    source = f"-f lavfi -i testsrc2=size=1920x1080:rate={FPS},noise=alls=12:allf=t -t {CLIP_SECONDS}"
    coder = f"-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -g {2 * FPS}"
    rate = f"-b:v {BITRATE} -maxrate {BITRATE} -bufsize {BITRATE} -x264-params sliced-threads=0"
    command = ["ffmpeg", "-v", "error", *source.split(), *coder.split(), *rate.split(), path]
    subprocess.run(command, check=True)
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c", "copy", path.with_suffix(".h264")], check=True)


@contextlib.contextmanager
def framemesh(clip: Path) -> Iterator[dict[str, Server]]:
    """The gateway of a mesh, and a second one that sends through sendmmsg."""
    with RunningMesh(folder=clip.parent) as mesh:
        mesh.call("capture.start", stream="cam0", source=f"file://{clip}?loop=1")
        http = free_port()
        ports = {"HTTP_PORT": http, "UDP_PORT": free_port(socket.SOCK_DGRAM), "METRICS_PORT": free_port()}
        settings = {**ports, "UDP_SEGMENTATION": "false"}
        environment = {f"FRAMEMESH_WEBRTC_GATEWAY_{key}": str(value) for key, value in settings.items()}
        with mesh.log.open("ab") as log:
            second = subprocess.Popen(
                [sys.executable, "-m", "services.webrtc_gateway"],
                env={**mesh.environment, **environment, "FRAMEMESH_NODE": "test-2"},
                stderr=log,
            )
        try:
            wait_until(lambda: answers(http), _READY_SECONDS, "the second gateway answers")
            path = "whep/cam0/source"
            yield {
                "framemesh": (mesh.pids()["webrtc-gateway"], f"{mesh.console}{path}"),
                "framemesh, no GSO": (second.pid, f"http://127.0.0.1:{http}/{path}"),
            }
        finally:
            second.terminate()
            second.wait(_READY_SECONDS)


def cpu_seconds(pid: int) -> float:
    """On a CPU, of all its threads, those that have ended too: `schedstat` forgets them. To the nanosecond."""
    return time.clock_gettime(~pid << 3 | _CPU_CLOCK)


def measure(name: str, server: Server, count: int, seconds: float) -> dict[str, float]:
    """CPU of one server with so many viewers: us per packet, and percent of a core."""
    pid, where = server
    kind = name.partition(",")[0]
    command = [sys.executable, "-m", "tests.bench.egress_sinks", kind, where, str(count)]
    sinks = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert sinks.stdin is not None
    assert sinks.stdout is not None

    def received() -> int:
        print(file=sinks.stdin, flush=True)
        return int(sinks.stdout.readline())

    try:
        if json.loads(sinks.stdout.readline() or "{}").get("connected") != count:
            raise NotConnected(f"{name}: {count} viewers did not connect")
        time.sleep(SETTLE_SECONDS)
        packets, cpu, began = received(), cpu_seconds(pid), time.monotonic()
        time.sleep(seconds)
        packets, cpu = received() - packets, cpu_seconds(pid) - cpu
        elapsed = time.monotonic() - began
    finally:
        sinks.stdin.close()
        sinks.wait(_CONNECT_SECONDS)
    return {
        "us_per_packet": 1e6 * cpu / packets,
        "core_percent": 100 * cpu / elapsed,
        "packets_per_second_each": packets / elapsed / count,
    }


def parts() -> dict[str, float]:
    """us of CPU per packet of what is done for each viewer, and for all of them together once (packetise)."""
    nal = b"\x65" + os.urandom(PICTURE_BYTES).replace(b"\0", b"\1")
    picture = b"\0\0\0\1" + nal
    payloads = packetize_h264(picture, MAX_PAYLOAD_BYTES, MAX_EXTENSION_BYTES)
    count = len(payloads)
    unit = RtpUnit(0, payloads, 1, False, time.time_ns(), 0.0, True)
    track, batch = RtpTrack(96, 90_000, HeaderExtensions("0", 9, 5, 12)), PacketBatch()
    result: dict[str, float] = {}

    def put(name: str, do: Callable[[], object], less: float = 0.0) -> float:
        each = min(_cpu_of(do) for _ in range(_BEST_OF)) / count * 1e6
        result[name] = round(each - less, 3)
        return each

    def packetise() -> None:
        made = packetize_h264(picture, MAX_PAYLOAD_BYTES, MAX_EXTENSION_BYTES)
        RtpUnit(0, made, 1, False, 0, 0.0, True).runs[0].image(16)

    put("packetise, once for all viewers", packetise)
    for profile, key_bytes, name in (
        (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28, "AES-GCM"),
        (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30, "AES-CM, SHA-1"),
    ):
        srtp = SrtpSender(os.urandom(key_bytes), profile)

        def write(srtp: SrtpSender = srtp) -> None:
            unit.number += count
            track.write(unit, 0, count, batch, srtp.tag_bytes)
            if batch.count != count:  # sequence numbers have started over
                unit.number += count
                track.write(unit, 0, count, batch, srtp.tag_bytes)

        def protect(srtp: SrtpSender = srtp, write: Callable[[], None] = write) -> None:
            write()
            srtp.protect(batch)

        written = put("write", write)
        put(f"protect, {name}", protect, less=written)
    numbered, record = RtpTrack(96, 90_000, HeaderExtensions("0", 9, 5, 12, 3)), SentRecord()
    numbered.numbers = record

    def number() -> None:
        unit.number += count
        numbered.write(unit, 0, count, batch, srtp.tag_bytes)
        record.sent(batch.count, batch.size, batch.size)

    put("number, for those who ask for it", number, less=written)
    write()  # a whole picture, for what follows
    with _drain() as address, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        for name, way in (("GSO", "segments"), ("sendmmsg", "list"), ("sendto", "each")):
            sender = DatagramSender(sock, segments=way == "segments")
            if way == "each":
                sender._list = None
            put(f"send, {name}", lambda sender=sender: sender.send(batch.datagrams, batch.size, address))  # type: ignore[misc]
    return result


def _cpu_of(do: Callable[[], object]) -> float:
    before = time.thread_time()
    for _ in range(_REPEATS):
        do()
    return (time.thread_time() - before) / _REPEATS


_DRAIN = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
sock.bind(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
buffer = bytearray(2048)
while True:
    sock.recv_into(buffer)
"""


@contextlib.contextmanager
def _drain() -> Iterator[tuple[str, int]]:
    child = subprocess.Popen([sys.executable, "-c", _DRAIN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        yield "127.0.0.1", int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()


def main() -> None:
    quick = "--quick" in sys.argv
    if unknown := set(sys.argv[1:]) - {"--quick"}:
        sys.exit(f"{' '.join(sorted(unknown))}: there is --quick and nothing else")
    viewers = QUICK_VIEWERS if quick else VIEWERS
    load_before = os.getloadavg()[0]  # other work on the machine takes time and caches away: judge by it
    costs = parts()
    for name, value in costs.items():
        print(f"{name:32}{value:8.2f} us per packet", flush=True)
    runs: dict[str, dict[int, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="egress-") as folder, contextlib.ExitStack() as stack:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip)
        servers = {
            **stack.enter_context(framemesh(clip)),
            "aiortc": stack.enter_context(aiortc_server(clip.with_suffix(".h264"))),
        }
        if JANUS:
            servers["janus"] = stack.enter_context(janus_server(copied(clip)))
        else:
            print(HOW_TO_GET_JANUS)
        for number in range(QUICK_ROUNDS if quick else ROUNDS):
            for count in viewers:
                for name, server in servers.items():
                    try:
                        row = measure(name, server, count, QUICK_SECONDS if quick else SECONDS)
                    except NotConnected as error:  # a busy machine: the other rounds tell
                        print(error, flush=True)
                        continue
                    runs.setdefault(name, {}).setdefault(count, []).append(row)
                    print(
                        f"round {number + 1} {name:20}{count:4} viewers{row['us_per_packet']:8.2f} us per packet,"
                        f"{row['core_percent']:7.2f} % of a core, {row['packets_per_second_each']:.0f} packets/s each",
                        flush=True,
                    )
    table = {
        name: {count: statistics.median(row["us_per_packet"] for row in rows) for count, rows in counts.items()}
        for name, counts in runs.items()
    }
    ratios = {
        name: {count: round(median / table["framemesh"][count], 2) for count, median in medians.items()}
        for name, medians in table.items()
        if medians.keys() <= table["framemesh"].keys()
    }
    print(f"\n{'us per packet, medians':24}" + "".join(f"{count:>8}" for count in viewers))
    for name, medians in table.items():
        times = "".join(f"{ratio:7.1f}x" for ratio in ratios.get(name, {}).values())
        print(f"{name:24}" + "".join(f"{median:8.2f}" for median in medians.values()) + times)
    print(f"goal: at most {GOAL_US:g} us")
    if quick:
        return
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    report = {
        "what": "CPU of the server's process per RTP packet sent, 1080p30 H.264 4.5 Mbit/s over SRTP, loopback",
        "goal_us": GOAL_US,
        "machine": {**machine, "load_before": load_before, "load_after": os.getloadavg()[0]},
        "parts_us_per_packet": costs,
        "us_per_packet_medians": {
            name: {count: round(median, 2) for count, median in medians.items()} for name, medians in table.items()
        },
        "times_framemesh": ratios,
        "runs": runs,
    }
    keep(RESULTS, report)


if __name__ == "__main__":
    main()
