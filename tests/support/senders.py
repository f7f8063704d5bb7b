"""The other end of a source: cameras, encoders and servers that send, die and come back."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.made_once import ffmpeg_once
from tests.support.mesh import bunny
from tests.support.peers import RtmpServer, free_port, wait_until
from tests.support.rtsp_server import rtsp_server

WIDTH, HEIGHT, FPS = 640, 360, 25
_READY_SECONDS = 10.0


def camera_clip() -> Path:
    """A clip as a camera would send it: H.264 with a key picture every second, and AAC."""
    return ffmpeg_once(
        "camera.mp4", "-i", str(bunny()), "-vf", f"scale={WIDTH}:{HEIGHT}", "-c:v", "libx264", "-preset", "ultrafast",
        "-g", str(FPS), "-b:v", "800k", "-c:a", "aac", "-ac", "2", "-movflags", "+faststart",
    )  # fmt: skip


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _looping(clip: Path, *target: str) -> list[str]:
    return ["ffmpeg", "-v", "error", "-y", "-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy", *target]


class Sender:
    """A place where pictures come from. `sending()` is one life of the sender; the URL outlives it."""

    url: str
    size = (WIDTH, HEIGHT)
    sound = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """What is there all the time, such as a server between sender and mesh."""
        yield

    def sending(self) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError


class RtspCamera(Sender):
    size, sound = (384, 64), False

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"rtsp://127.0.0.1:{self.port}/stream1"

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        with rtsp_server(port=self.port, live=True):
            yield


class RtmpThroughServer(Sender):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = RtmpServer(folder)
        self.url = self.server.url

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        self.server.start()
        try:
            yield
        finally:
            self.server.stop()

    def sending(self) -> contextlib.AbstractContextManager[None]:
        return _process(_looping(camera_clip(), "-f", "flv", self.url))


class SrtListener(Sender):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"srt://127.0.0.1:{self.port}"
        self.asks = ""
        """Further options of the listener, each with a `&`."""

    def sending(self) -> contextlib.AbstractContextManager[None]:
        address = f"srt://127.0.0.1:{self.port}?mode=listener{self.asks}"
        return _process(_looping(camera_clip(), "-f", "mpegts", address))


class UdpTransportStream(Sender):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"udp://127.0.0.1:{self.port}"

    def sending(self) -> contextlib.AbstractContextManager[None]:
        return _process(_looping(camera_clip(), "-f", "mpegts", f"{self.url}?pkt_size=1316"))


class HttpFile(Sender):
    """A file on a web server that knows ranges: each turn fetches it anew."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{self.port}/camera.mp4"

    def sending(self) -> contextlib.AbstractContextManager[None]:
        copied = shutil.copy(camera_clip(), self.folder / "camera.mp4")
        return _process([sys.executable, "-m", "tests.support.media_server", str(self.port), str(copied)])


class HlsPlaylist(Sender):
    """A live playlist of one-second segments."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{self.port}/live.m3u8"

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        with _process([sys.executable, "-m", "http.server", str(self.port), "-b", "127.0.0.1", "-d", str(self.folder)]):
            yield

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        playlist = self.folder / "live.m3u8"
        playlist.unlink(missing_ok=True)
        muxer = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "4", "-hls_flags", "delete_segments", str(playlist)]
        with _process(_looping(camera_clip(), *muxer)):
            wait_until(playlist.exists, _READY_SECONDS, "the playlist is there")
            yield
