"""The command line as the README promises it: single commands, mesh.yaml, apply, prune."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mesh import FRAMEMESH, CallFailed, RunningMesh, bunny
from tests.support.peers import probe

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

TEST_SOURCE = "test://?size=640x360&fps=25"
MINIMAL = "streams:\n  cam0: file://bunny.mp4\n"
FULL = """
streams:
  cam0: {media}/bunny.mp4
  line1:
    source: "test://?size=640x360&fps=25"
    timecode: true
    renditions:
      main: {{codec: h264, bitrate: 1M, key_interval: 1s, encoder: software}}
      small: {{preset: superfast, always: true}}
    outputs:
      archive: {{rendition: main, to: "file://{{stream}}-{{output}}.mp4"}}
      copy: "file://copy.mp4"
defaults: {{renditions: {{bitrate: 700k}}}}
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    # Idle encoders end soon, so that a stopped stream is soon gone from shared memory.
    with RunningMesh(environment={"FRAMEMESH_HW_ENCODE_IDLE_SECONDS": "1"}) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Every test begins with nothing in the mesh."""
    yield
    if "mesh" in request.fixturenames:
        nothing = tmp_path / "empty.yaml"
        nothing.write_text("streams: {}\n")
        running: RunningMesh = request.getfixturevalue("mesh")
        done = running.run("apply", str(nothing), "--prune")
        assert done.returncode == 0, done.stderr


def revisions(status: Any) -> dict[str, int]:
    found = {}
    for kind in ("streams", "renditions", "outputs"):
        for entry in status[kind]:
            spec = entry["spec"]
            found[f"{kind}.{spec['stream']}.{spec.get('rendition', '')}.{spec.get('output', '')}"] = entry["revision"]
    return found


def stream_names(mesh: RunningMesh) -> list[str]:
    return [entry["spec"]["stream"] for entry in mesh.status()["streams"]]


def state(mesh: RunningMesh, kind: str, stream: str, name: str = "") -> Any:
    return (mesh.actual(kind, stream, name) or {}).get("state")


def test_from_nothing_to_a_recording_with_commands_only(mesh: RunningMesh) -> None:
    assert stream_names(mesh) == []
    started = mesh.call("capture.start", stream="cam0", source=TEST_SOURCE)
    assert started["code"] == 200
    assert started["actual"]["state"] == "live"
    encoded = mesh.call("hw-encode.start", stream="cam0", rendition="main", bitrate="1M", key_interval="1s")
    assert encoded["actual"]["bitrate"] == 1_000_000
    mesh.call("publisher.start", stream="cam0", output="archive", to="file://plain.mp4")
    mesh.wait_for(lambda: mesh.actual("outputs", "cam0", "archive")["bytes_written"] > 50_000, what="bytes in the file")
    assert mesh.call("hw-encode.cam0--main.keyframe", reason="test")["forced"] in (True, False)
    assert [entry["spec"]["stream"] for entry in mesh.call("capture.list")["streams"]] == ["cam0"]
    mesh.call("publisher.stop", stream="cam0", output="archive")
    assert mesh.call("publisher.list")["outputs"] == []
    tracks = probe(mesh.media_dir / "plain.mp4")
    assert (tracks["video"].codec, tracks["video"].width, tracks["audio"].codec) == ("h264", 640, "aac")
    assert tracks["video"].seconds > 0.5
    mesh.call("capture.stop", stream="cam0")
    mesh.wait_for(lambda: stream_names(mesh) == [], what="no stream")
    mesh.wait_for(lambda: not [name for name in mesh.rings() if name.startswith("cam0")], what="no ring")


def test_same_command_again_changes_nothing(mesh: RunningMesh) -> None:
    first = mesh.call("capture.start", stream="cam0", source=TEST_SOURCE)
    again = mesh.call("capture.start", stream="cam0", source=TEST_SOURCE)
    assert again["revision"] == first["revision"]
    assert again["actual"]["epoch"] == first["actual"]["epoch"], "the source was opened again"
    changed = mesh.call("capture.start", stream="cam0", source="test://?size=400x300&fps=25")
    assert changed["revision"] > first["revision"]
    assert changed["actual"]["video"]["width"] == 400


@pytest.mark.parametrize(
    ("subject", "wish", "code", "said"),
    [
        ("capture.start", {"stream": "cam0"}, 400, "source"),
        ("capture.start", {"stream": "Cam 0", "source": TEST_SOURCE}, 400, "stream"),
        ("capture.start", {"stream": "cam0", "source": "gopher://x"}, 400, "rtsp"),
        ("capture.start", {"stream": "cam0", "source": TEST_SOURCE, "colour": 1}, 400, "colour"),
        ("capture.start", {"stream": "cam0", "source": "file:///etc/passwd"}, 400, "must lie under"),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "file:///etc/x.mp4"}, 400, "may lie in"),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "file://../x.mp4"}, 400, "to"),
        ("hw-encode.start", {"stream": "cam0", "bitrate": "fast"}, 400, "bitrate"),
        ("capture.start", {"stream": "cam0", "source": TEST_SOURCE, "revision": 12345}, 409, "revision"),
        ("capture.stop", {"stream": "nobody"}, 404, "nobody"),
        ("publisher.stop", {"stream": "nobody", "output": "o"}, 404, "nobody"),
    ],
)
def test_refusals_name_what_is_wrong(
    mesh: RunningMesh, subject: str, wish: dict[str, Any], code: int, said: str
) -> None:
    with pytest.raises(CallFailed) as refused:
        mesh.call(subject, **wish)
    assert refused.value.code == code, refused.value.message
    assert said in refused.value.message
    assert stream_names(mesh) == []


def test_stopping_a_rendition_brings_the_default_back(mesh: RunningMesh) -> None:
    mesh.call("capture.start", stream="cam0", source=TEST_SOURCE)
    mesh.call("hw-encode.start", stream="cam0", rendition="main", bitrate="1M")
    assert mesh.actual("renditions", "cam0", "main")["bitrate"] == 1_000_000
    stopped = mesh.call("hw-encode.stop", stream="cam0", rendition="main")
    assert stopped["code"] == 200
    mesh.wait_for(lambda: (mesh.actual("renditions", "cam0", "main") or {}).get("bitrate") == 4_000_000, what="default")


def test_missing_file_is_told_and_found_later(mesh: RunningMesh) -> None:
    with pytest.raises(CallFailed) as missing:
        mesh.call("capture.start", stream="cam0", source="file://later.mp4", wait_s=2)
    assert "later.mp4" in missing.value.message
    shutil.copy(bunny(), mesh.media_dir / "later.mp4")
    mesh.wait_for(lambda: state(mesh, "streams", "cam0") == "live", 10, "live once the file is there")


def test_apply_is_commands_and_twice_is_once(mesh: RunningMesh, tmp_path: Path) -> None:
    shutil.copy(bunny(), mesh.media_dir / "bunny.mp4")
    file = tmp_path / "mesh.yaml"
    file.write_text(FULL.format(media=f"file://{mesh.media_dir}"))
    done = mesh.run("apply", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    first = mesh.status()
    names = set(revisions(first))
    assert {"streams.cam0..", "streams.line1..", "renditions.line1.main.", "renditions.line1.small."} <= names
    specs = {
        entry["spec"]["rendition"]: entry["spec"] for entry in first["renditions"] if entry["spec"]["stream"] == "line1"
    }
    assert (specs["main"]["bitrate"], specs["small"]["bitrate"]) == ("1M", "700k")
    mesh.wait_for(lambda: state(mesh, "renditions", "line1", "small") == "running", what="`always` encodes unasked")
    mesh.wait_for(lambda: state(mesh, "outputs", "line1", "archive") == "running", what="archive runs")
    mesh.wait_for(lambda: state(mesh, "outputs", "line1", "copy") == "running", what="copy runs")

    done = mesh.run("apply", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["code"] for line in done.stdout.splitlines()} == {200}
    second = mesh.status()
    assert revisions(second) == revisions(first)
    assert second["outputs"][0]["actual"]["since_ns"] == mesh.status()["outputs"][0]["actual"]["since_ns"]

    mesh.wait_for(lambda: mesh.actual("outputs", "line1", "archive")["bytes_written"] > 50_000, what="bytes")
    file.write_text(MINIMAL.replace("file://bunny.mp4", f"file://{mesh.media_dir}/bunny.mp4"))
    kept = mesh.run("apply", str(file))
    assert kept.returncode == 0
    assert set(stream_names(mesh)) == {"cam0", "line1"}, "without --prune nothing is stopped"
    pruned = mesh.run("apply", str(file), "--prune")
    assert pruned.returncode == 0, pruned.stderr
    assert stream_names(mesh) == ["cam0"]
    assert mesh.status()["outputs"] == []
    assert probe(mesh.media_dir / "line1-archive.mp4")["video"].seconds > 0.5
    assert revisions(mesh.status())["streams.cam0.."] == revisions(first)["streams.cam0.."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streams: {cam0: {source: 'test://', colour: red}}", "streams.cam0"),
        (
            "streams: {cam0: {source: 'test://', renditions: {main: {bitrate: 4X}}}}",
            "streams.cam0.renditions.main.bitrate",
        ),
        ("stream: {}", "stream"),
        ("streams: {cam0: {source: 'test://', size: 1281x720}}", "streams.cam0.size"),
        ("streams: [", "line"),
        ("streams: {cam0: 'rtsp://user:${NO_SUCH_VARIABLE}@camera/1'}", "NO_SUCH_VARIABLE"),
    ],
)
def test_bad_file_changes_nothing_and_names_the_place(mesh: RunningMesh, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(text)
    done = mesh.run("apply", str(file))
    assert done.returncode != 0
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert stream_names(mesh) == []


def test_up_with_the_two_lines(tmp_path: Path) -> None:
    shutil.copy(bunny(), tmp_path / "bunny.mp4")
    (tmp_path / "mesh.yaml").write_text(MINIMAL)
    with RunningMesh("mesh.yaml", folder=tmp_path) as running:
        running.wait_for(lambda: state(running, "streams", "cam0") == "live", what="live")
        actual = running.actual("streams", "cam0")
        assert (actual["video"]["codec"], actual["video"]["width"]) == ("h264", 1280)
        assert set(actual["source_tracks"]) == {"video", "aac"}
        assert "cam0" in running.run("status").stdout


def test_up_refuses_a_bad_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("streams: {cam0: {source: 'test://', fps: many}}\n")
    done = subprocess.run([*FRAMEMESH, "up", str(tmp_path / "mesh.yaml")], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "streams.cam0.fps" in done.stderr
    assert "Traceback" not in done.stderr


def test_paths_of_another_node_are_judged_there(mesh: RunningMesh) -> None:
    mesh.call("capture.start", stream="far", source=TEST_SOURCE)
    there = mesh.call(
        "publisher.start", stream="far", output="o", to="file:///srv/of-another-node/x.mp4", node="elsewhere", wait_s=0
    )
    assert there["code"] == 202
    with pytest.raises(CallFailed, match="may lie in"):
        mesh.call("publisher.start", stream="far", output="p", to="file:///srv/of-another-node/x.mp4")
    mesh.call("publisher.stop", stream="far", output="o", wait_s=0)
    mesh.call("capture.stop", stream="far")
