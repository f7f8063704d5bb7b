"""What an RTSP client costs the server: 720p25 at 2 Mbit/s to 1, 5, 10 and 30 clients, beside GStreamer's RTSP server.

CPU seconds of the server's process over the same wall time; the slope over the clients is the cost of one, the rest is
the price of making packets at all. `python -m tests.bench.rtsp`; result in results/rtsp.json.
"""

import contextlib
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.dated import keep
from tests.support.gst_rtsp import GstRtspServer
from tests.support.rtsp_rig import Client

_SECONDS = 5.0
_CLIENTS = (1, 5, 10, 30)
_RESULT = Path(__file__).parent / "results/rtsp.json"


def serve(file: str) -> None:
    """The server's process: plays an Annex B file until its standard input ends."""
    import av

    from schemas.packets import PacketHeader
    from shared.media.bitstream import is_key, parameter_sets
    from tests.support.packets import NANOSECONDS, Made
    from tests.support.rtsp_rig import RtspRig, Source

    made = []
    with av.open(file) as container:
        for number, packet in enumerate(packet for packet in container.demux(video=0) if packet.size):
            payload, at_ns = bytes(packet), number * NANOSECONDS // 25
            key = is_key(payload, "h264")
            header = PacketHeader(
                stream="cam0", rendition="main", track="video", codec="h264", epoch=1, sequence=number, run=1,
                index=number, key=key, pts_ns=at_ns, dts_ns=at_ns, captured_ns=at_ns, width=1280, height=720,
                extradata=parameter_sets(payload, "h264") if key else b"",
            )  # fmt: skip
            made.append(Made(header, payload))
    with RtspRig({"cam0/main": Source(made)}) as rig:
        print(rig.port, flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def ours(file: Path) -> Iterator[tuple[int, int]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.rtsp", str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        yield child.pid, int(child.stdout.readline())
    finally:
        child.communicate()


@contextlib.contextmanager
def gstreamer(file: Path) -> Iterator[tuple[int, int]]:
    with GstRtspServer({"cam0": f"{file},fps=25"}) as server:
        assert server.process is not None
        yield server.process.pid, server.port


def cpu_seconds(pid: int) -> float:
    """On a CPU, of all its threads: to the nanosecond, where `stat` counts in hundredths of a second."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def measure(pid: int, port: int, count: int, transport: str) -> tuple[float, float]:
    """(CPU seconds per second, Mbit/s per client) with so many clients."""
    with contextlib.ExitStack() as stack:
        readers: list[socket.socket] = []
        for _ in range(count):
            client = stack.enter_context(Client(port))
            _, headers, sdp = client.ask("DESCRIBE")
            control = next(line for line in sdp.splitlines()[::-1] if line.startswith("a=control:")).partition(":")[2]
            uri = control if control.startswith("rtsp") else headers["content-base"] + control
            if transport == "udp":
                sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sock.bind(("127.0.0.1", 0))
                number = sock.getsockname()[1]
                wanted = f"RTP/AVP;unicast;client_port={number}-{number + 1}"
            else:
                sock, wanted = client.socket, "RTP/AVP/TCP;unicast;interleaved=0-1"
            assert client.ask("SETUP", uri, Transport=wanted)[0] == 200
            assert client.ask("PLAY", headers["content-base"])[0] == 200
            readers.append(sock)
        time.sleep(1.0)
        received, before, began = 0, cpu_seconds(pid), time.monotonic()
        while time.monotonic() - began < _SECONDS:
            for sock in select.select(readers, [], [], 0.1)[0]:
                received += len(sock.recv(1 << 18))
        wall = time.monotonic() - began
        return (cpu_seconds(pid) - before) / wall, received * 8 / 1e6 / wall / count


def main() -> None:
    result: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.h264"
        command = "ffmpeg -v error -f lavfi -i testsrc2=size=1280x720:rate=25 -t 8 -c:v libx264 -preset veryfast"
        command += " -tune zerolatency -b:v 2M -maxrate 2M -bufsize 1M -g 50 -pix_fmt yuv420p -y"
        subprocess.run([*command.split(), str(file)], check=True)
        for name, server in (("framemesh", ours), ("gstreamer", gstreamer)):
            for transport in ("tcp", "udp"):
                with server(file) as (pid, port):
                    rows = {count: measure(pid, port, count, transport) for count in _CLIENTS}
                slope, rest = np.polyfit(list(rows), [cpu for cpu, _ in rows.values()], 1)
                result[f"{name} {transport}"] = {
                    "cpu_percent": {count: round(100 * cpu, 2) for count, (cpu, _) in rows.items()},
                    "mbit_per_client": round(rows[_CLIENTS[-1]][1], 2),
                    "percent_per_client": round(100 * float(slope), 3),
                    "percent_without": round(100 * float(rest), 2),
                }
                print(f"{name:10} {transport}: {result[f'{name} {transport}']}", flush=True)
    keep(_RESULT, dict(result))


if __name__ == "__main__":
    serve(sys.argv[1]) if len(sys.argv) > 1 else main()
