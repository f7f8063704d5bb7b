"""The other end of an output: an RTMP server (nginx), an RTSP receiver (ffmpeg), and ffprobe to look at the result."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.launcher.ports import free_port as free_port_on
from tests.support.pace import Patience

NGINX = Path("/usr/sbin/nginx")
NGINX_RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_READY_SECONDS = 10.0
_POLL_SECONDS = 0.02


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    return free_port_on("127.0.0.1", kind)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll something outside this process that offers no event."""
    patience = Patience(seconds)
    while not condition():
        if patience.is_over():
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(_POLL_SECONDS)


def _listening(port: int) -> bool:
    # Without connecting: an RTSP listener takes the first connection for its publisher.
    wanted = f":{port:04X}"
    with open("/proc/net/tcp") as table:
        return any(line.split()[1].endswith(wanted) and line.split()[3] == "0A" for line in list(table)[1:])


@dataclass
class RtmpServer:
    """nginx with its RTMP module on a loopback port; records what is published to `live/<key>`."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/key0"

    @property
    def recordings(self) -> list[Path]:
        return sorted((self.folder / "rec").glob("*.flv"))

    @property
    def recorded_bytes(self) -> int:
        return sum(recording.stat().st_size for recording in self.recordings)

    def start(self) -> None:
        (self.folder / "rec").mkdir(parents=True, exist_ok=True)
        (self.folder / "rec").chmod(0o777)
        config = self.folder / "nginx.conf"
        config.write_text(
            f"load_module {NGINX_RTMP_MODULE};\n"
            "daemon off;\nworker_processes 1;\nuser root;\n"
            f"pid {self.folder}/nginx.pid;\nerror_log {self.folder}/error.log info;\n"
            "events { worker_connections 64; }\n"
            "rtmp { server { "
            f"listen 127.0.0.1:{self.port}; chunk_size 4096; "
            "application live { live on; "
            f"record all; record_path {self.folder}/rec; record_unique on; record_suffix -%s.flv; "
            "} } }\n"
        )
        self.process = subprocess.Popen(
            [str(NGINX), "-p", str(self.folder), "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: _listening(self.port), _READY_SECONDS, "nginx listens")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()  # the fast shutdown: connections are closed
            self.process.wait(_READY_SECONDS)
            self.process = None


@contextlib.contextmanager
def rtmp_server(folder: Path) -> Iterator[RtmpServer]:
    server = RtmpServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def rtsp_receiver(target: Path, port: int) -> Iterator[str]:
    """ffmpeg as an RTSP server that copies one published session into `target`; gives the URL to publish to."""
    url = f"rtsp://127.0.0.1:{port}/cam0"
    process = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-rtsp_flags", "listen", "-i", url, "-c", "copy", str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _listening(port), _READY_SECONDS, "ffmpeg listens")
        yield url
        with contextlib.suppress(subprocess.TimeoutExpired):  # it ends by itself after the publisher's TEARDOWN
            process.wait(2.0)
    finally:
        process.terminate()
        try:
            process.wait(3.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Probed:
    """What ffprobe decodes of one track: presentation times in seconds, in coded order where `dts`."""

    codec: str
    width: int
    height: int
    pts: list[float]
    dts: list[float]
    decoded: int
    keys: int

    @property
    def seconds(self) -> float:
        return max(self.pts) - min(self.pts)


def probe(path: Path) -> dict[str, Probed]:
    """Decode a file with ffprobe; fails on anything ffprobe complains about. Keys: `video`, `audio`."""
    run = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-count_frames", "-of", "json", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr, run.stderr
    report = json.loads(run.stdout)
    result: dict[str, Probed] = {}
    for stream in report["streams"]:
        packets = [packet for packet in report["packets"] if packet["stream_index"] == stream["index"]]
        result[stream["codec_type"]] = Probed(
            codec=stream["codec_name"],
            width=int(stream.get("width", 0)),
            height=int(stream.get("height", 0)),
            pts=[float(packet["pts_time"]) for packet in packets],
            dts=[float(packet["dts_time"]) for packet in packets if "dts_time" in packet],
            decoded=int(stream.get("nb_read_frames", 0)),
            keys=sum("K" in packet["flags"] for packet in packets),
        )
    return result
