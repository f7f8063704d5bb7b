"""A source with B-frames in a running mesh: viewers get main and are told why; outputs that cannot take them say so."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support.console import CHROMIUM, console_page
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.peers import free_port, wait_until
from tests.support.whip_server import TOKEN, whip_server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(150),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
OFFER = (Path(__file__).parents[1] / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()
WHY = "it has B-frames"


def make_clip(path: Path, codec: str) -> None:
    """Five seconds of moving bars and a tone."""
    command = "ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine -t 5 -pix_fmt yuv420p -g 25"
    subprocess.run([*command.split(), "-preset", "ultrafast", "-c:v", *codec.split(), str(path)], check=True)


def answered_as(mesh: RunningMesh, rendition: str, stream: str = "cam0") -> str:
    """What a viewer is told of the rendition that it gets."""
    url, headers = f"{mesh.console}whep/{stream}/{rendition}", {"Content-Type": "application/sdp"}
    with urllib.request.urlopen(urllib.request.Request(url, data=OFFER, headers=headers), timeout=10) as answer:
        return str(answer.headers["X-Framemesh-Rendition"])


def test_a_source_with_b_frames(tmp_path: Path) -> None:
    with RunningMesh() as mesh, console_page() as console, whip_server(free_port()) as server:
        make_clip(mesh.media_dir / "b.mp4", "libx264 -bf 2 -b_strategy 0")
        make_clip(mesh.media_dir / "h.mp4", "libx265 -x265-params bframes=0:log-level=none")
        mesh.call("capture.start", stream="cam0", source="file://b.mp4")
        console.open(f"{mesh.console}?rendition=source")
        console.playing("cam0", 15)
        assert console.tile("cam0")["transcoded"] == "transcoded: the source has B-frames"
        before = console.thumbnail("cam0")
        console.until(f"tile('cam0').framesPresented > {console.tile('cam0')['framesPresented'] + 10}")
        assert (console.thumbnail("cam0") != before).any(), "it moves"
        shown = console.page.inner_text('.tile[data-stream="cam0"] .encoding')
        assert "transcoded: the source has B-frames" in shown
        console.page.screenshot(path=str(tmp_path / "console.png"))
        assert console.complaints == []

        assert answered_as(mesh, "source") == f'main; instead-of=source; reason="{WHY}"'
        assert answered_as(mesh, "main") == "main"
        sessions = mesh.call("webrtc-gateway.sessions", stream="cam0")["sessions"]
        assert {(one["rendition"], one["instead_of"], one["reason"]) for one in sessions} == {
            ("main", "source", WHY),
            ("main", "", ""),
        }

        mesh.call("capture.start", stream="cam1", source="file://h.mp4")
        assert answered_as(mesh, "source", "cam1") == 'main; instead-of=source; reason="its codec is hevc"'

        # Files take them; WHIP does not, and says what does go.
        mesh.call("hw-encode.start", stream="cam0", rendition="thick", b_frames=2, encoder="software")
        assert answered_as(mesh, "thick") == f'main; instead-of=thick; reason="{WHY}"'
        for rendition in ("source", "thick"):
            with pytest.raises(CallFailed) as refused:
                mesh.call("publisher.start", stream="cam0", output="live", to=server.url, rendition=rendition)
            assert refused.value.code == 409
            assert "cannot carry B-frames; choose rendition main" in refused.value.message
        mesh.call("publisher.start", stream="cam0", output="file", to="file://out.mp4", rendition="source")
        mesh.call("publisher.start", stream="cam0", output="live", to=server.url)
        wait_until(lambda: len(server.pictures) > 10 and server.sound_seconds > 0.2, 15, "WHIP pictures and sound")
        assert server.pictures[-1].width == 320
        status = mesh.status()
        outputs = {one["spec"]["output"]: one["actual"] for one in status["outputs"]}
        assert {name: actual["state"] for name, actual in outputs.items()} == {"file": "running", "live": "running"}
        assert outputs["live"]["to"].endswith("?token=***")
        assert TOKEN not in json.dumps(status)
        assert TOKEN not in mesh.log.read_text()
        mesh.call("publisher.stop", stream="cam0", output="live")
        wait_until(lambda: server.requests[-1][0] == "DELETE", 5, "the WHIP session is deleted")
