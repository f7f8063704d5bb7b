"""ffmpeg as a camera whose picture is drawn by a filter, sent as an MPEG transport stream over UDP."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

MOVING = "testsrc2=size=640x360:rate=25"
# Three seconds of moving pictures, then one of them for seven, then moving ones again.
FREEZING = "testsrc2=size=640x360:rate=25,loop=loop=175:size=1:start=75,setpts=N/25/TB"


@contextmanager
def udp_camera(
    port: int, picture: str = MOVING, *, codec: str = "libx264", key_seconds: float = 1.0
) -> Iterator["subprocess.Popen[bytes]"]:
    """Sends until the end of the block; the process may be stopped and continued."""
    process = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", picture, "-c:v", codec, "-preset", "ultrafast",
         "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", str(round(25 * key_seconds)), "-b:v", "1M",
         "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
