"""A live playlist that no longer grows: what it still has is played once, and the stream is not live again."""

import asyncio
import http.server
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.client import async_client
from tests.support.mesh import RunningMesh
from tests.support.state_log import StateLog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SEGMENTS, LATER_SEGMENTS = 4, 4
SEGMENT_SECONDS = 1
WATCHED_SECONDS = 16.0  # enough for the reader to give up, and to open it again twice


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """No line per request."""


@pytest.fixture
def playlist(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """URL of a playlist without an end, and the lines that its packager would have added, had it not died."""
    path = tmp_path / "live.m3u8"
    seconds = (SEGMENTS + LATER_SEGMENTS) * SEGMENT_SECONDS
    command = f"ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25 -t {seconds} -c:v libx264 -preset ultrafast"
    command += f" -g 25 -f hls -hls_time {SEGMENT_SECONDS} -hls_list_size 0 -hls_flags omit_endlist {path}"
    subprocess.run(command.split(), check=True, timeout=60)
    lines = path.read_text().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("#EXTINF"))
    cut = first + 2 * SEGMENTS
    path.write_text("".join(lines[:cut]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/live.m3u8", lines[cut:]
        server.shutdown()


@pytest.mark.long
async def test_what_was_played_is_not_played_again(playlist: tuple[str, list[str]], tmp_path: Path) -> None:
    url, later = playlist
    with RunningMesh() as mesh:
        async with async_client(mesh) as app:
            await app.start_stream("cam0", url, wait_s=10)
            async with StateLog.watching(app, "cam0") as log:
                stalled = await log.reaches("stalled", 20)
                played = (await log.until(lambda sample: sample.state == "reconnecting", 30)).stats["last_frame_ns"]
                await asyncio.sleep(WATCHED_SECONDS)
                assert "live" not in log.states(stalled.at), "its last segments look like a camera that is back"
                assert log.samples[-1].stats["last_frame_ns"] == played
                with (tmp_path / "live.m3u8").open("a") as file:
                    file.writelines(later)
                await log.reaches("live", 30)
