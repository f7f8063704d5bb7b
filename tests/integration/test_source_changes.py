"""A source comes back with another size and another codec: viewers stay, recordings stay playable, times go on."""

import itertools
import time
from pathlib import Path

import pytest

from tests.support.console import CHROMIUM, console_page
from tests.support.lavfi import udp_camera
from tests.support.mesh import RunningMesh
from tests.support.peers import free_port, probe
from tests.support.picture_watch import PictureWatch

pytestmark = [
    pytest.mark.alone,
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
AWAY_SECONDS = 2.5  # longer than a stall takes: the last picture is held meanwhile
Senders = tuple[tuple[str, tuple[int, int]], ...]
LARGE, SMALL = (1280, 720), (640, 480)
SENDERS = (("libx264", LARGE), ("libx264", SMALL), ("libx265", SMALL), ("libx264", LARGE))
SHORT = (("libx264", LARGE), ("libx265", SMALL))


@pytest.mark.parametrize("senders", [SHORT, pytest.param(SENDERS, marks=pytest.mark.long)], ids=["both", "each"])
def test_another_size_and_another_codec(senders: Senders) -> None:
    port = free_port()
    with (
        RunningMesh(environment={"FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": "4"}) as mesh,
        console_page() as console,
    ):
        watch: PictureWatch | None = None
        sessions: list[str] = []
        epochs = set()
        for codec, size in senders:
            with udp_camera(port, "testsrc2=size={}x{}:rate=25".format(*size), codec=codec):
                if watch is None:
                    mesh.call("capture.start", stream="cam0", source=f"udp://127.0.0.1:{port}", wait_s=15)
                    for rendition in ("main", "source"):
                        to = f"file://{rendition}-{{start:%H%M%S}}.mp4"
                        mesh.call("publisher.start", stream="cam0", output=rendition, rendition=rendition, to=to)
                    console.open(mesh.console)
                    watch = PictureWatch(console.page, "cam0")
                since_ms = watch.now_ms()
                video = ("libx265", "hevc") if codec == "libx265" else ("libx264", "h264")
                mesh.wait_for(lambda: shown(mesh) == (video[1], *size), 15, f"{codec} {size}")  # noqa: B023
                watch.wait_for_pictures(50, since_ms, 20)
                watch.wait_for_pictures(25, watch.now_ms(), 10)
                epochs.add(mesh.actual("streams", "cam0")["epoch"])
                viewing = [one["session"] for one in mesh.call("webrtc-gateway.sessions")["sessions"]]
                assert len(viewing) == 1
                sessions += viewing
            lost_ms = watch.now_ms()
            time.sleep(AWAY_SECONDS)
            held = watch.pictures_since(lost_ms + 1500)
            assert len(held) >= 1, "the last picture is held"
        assert len(set(sessions)) == 1, "the viewer's session has never ended"
        assert len(epochs) == 1
        for rendition in ("main", "source"):
            mesh.call("publisher.stop", stream="cam0", output=rendition)
        for rendition in ("main", "source"):
            check_recordings(mesh, rendition, senders)
        assert not console.complaints


def shown(mesh: RunningMesh) -> tuple[str, int, int]:
    actual = mesh.actual("streams", "cam0")
    video = actual["video"] or {"codec": "", "width": 0, "height": 0}
    return (video["codec"] if actual["state"] == "live" else "", video["width"], video["height"])


def check_recordings(mesh: RunningMesh, rendition: str, senders: Senders) -> None:
    files = sorted(mesh.media_dir.glob(f"{rendition}-*.mp4"), key=lambda path: path.stat().st_ctime_ns)
    sizes = []
    for path in files:
        video = probe(Path(path))["video"]
        print(
            f"{path.name}: {video.codec} {video.width}x{video.height}, {video.decoded} pictures, {video.seconds:.1f} s"
        )
        assert all(after > before for before, after in itertools.pairwise(video.dts))
        assert video.decoded >= 40
        sizes.append((video.width, video.height))
    # Of `main` the codec is always ours: its files change with the size only.
    expected = [size for size, _ in itertools.groupby(size for _, size in senders)]
    assert sizes == (expected if rendition == "main" else [size for _, size in senders])
