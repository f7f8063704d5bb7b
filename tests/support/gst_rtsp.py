"""Cameras as others build them: GStreamer's RTSP server in a process of Debian's Python, fed with encoded pictures."""

import select
import subprocess
from pathlib import Path
from typing import Self

from tests.support.made_once import ffmpeg_once
from tests.support.mesh import bunny
from tests.support.peers import free_port

_SCRIPT = Path(__file__).with_name("gst_rtsp_server.py")
_PYTHON = "/usr/bin/python3"  # the one that Debian's python3-gi is for
_READY_SECONDS = 20.0
USER, PASSWORD = "viewer", "pass-w0rd"


def elementary_video(codec: str = "h264") -> Path:
    """The real clip at 1280x720, 25 pictures/s, no B-frames, a key picture every second, as Annex B."""
    encoder = {
        "h264": ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-b:v", "4M", "-maxrate", "4M"],
        "h265": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=0:keyint=25:log-level=none"],
    }[codec]
    return ffmpeg_once(f"720.{codec}", "-i", str(bunny()), "-an", *encoder, "-bufsize", "4M", "-r", "25")


class GstRtspServer:
    """Use as a context manager. `mounts`: name -> what follows the name, see gst_rtsp_server.py."""

    def __init__(self, mounts: dict[str, str], port: int = 0) -> None:
        self.port = port or free_port()
        self._mounts = [f"{name}={options}" for name, options in mounts.items()]
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, mount: str, userinfo: str = "") -> str:
        return f"rtsp://{userinfo}127.0.0.1:{self.port}/{mount}"

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [_PYTHON, str(_SCRIPT), str(self.port), *self._mounts], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], _READY_SECONDS)[0] or not self.process.stdout.readline():
            self.__exit__()
            raise AssertionError("the RTSP server did not come up; see `sh ops/test-programs.sh`")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()
