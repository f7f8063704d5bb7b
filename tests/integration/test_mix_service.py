"""Mixes in a running mesh: made, changed while they run, killed, without an input, ended; nothing of them is left."""

import base64
import contextlib
import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from schemas.subjects import SECRETS_BUCKET
from shared.bus import Bus
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.pace import slowness
from tests.support.peers import free_port
from tests.support.processes import children, command

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

PASSWORD = "pa55-of-a-camera"
MIX_PROCESS = "services.cloud_mix_proxy.mixer"
WALL: dict[str, Any] = {
    "mix": "wall",
    "size": "640x360",
    "inputs": [
        {"input": "a", "source": "mesh://a"},
        {"input": "b", "source": "mesh://b", "on_loss": "hide"},
        {"input": "clip", "source": "file://bunny.mp4"},
    ],
    "logos": [{"source": "file://red.png", "box": {"x": 0, "y": 0, "width": 64, "height": 36}}],
}
GAP_SECONDS = 0.25  # of a player's patience; a picture that a busy machine leaves out takes a thirtieth
GROWTH_MB = 40  # what two layouts take at once; of a leak of one layout in each change there would be twice as much
RESTART_SECONDS = 2.0  # on a quiet machine 0.7 s of a mix's process, 1.4 s of the service


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    with RunningMesh(folder=tmp_path_factory.mktemp("mix")) as running:
        shutil.copy(bunny(), running.media_dir / "bunny.mp4")
        Image.new("RGB", (64, 36), (255, 0, 0)).save(running.media_dir / "red.png")
        (running.media_dir / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
        for stream in ("a", "b"):
            running.call("capture.start", stream=stream, source="test://?size=640x360")
        running.call("cloud-mix-proxy.create", **WALL, wait_s=20)
        all_live(running)
        yield running


def get(mesh: RunningMesh, mix: str = "wall") -> Any:
    return mesh.call("cloud-mix-proxy.get", mix=mix)


def states(mesh: RunningMesh) -> dict[str, str]:
    actual = get(mesh)["actual"]
    return {one["input"]: one["state"] for one in actual["inputs"]} if actual else {}


def all_live(mesh: RunningMesh) -> None:
    mesh.wait_for(lambda: (now := states(mesh)) and set(now.values()) == {"live"}, what="all inputs are live")


def picture(mesh: RunningMesh, stream: str = "wall", above: int = 0) -> tuple[int, npt.NDArray[np.uint8]]:
    """(epoch, RGB) of the newest picture, of an epoch above `above`."""

    def take() -> Any:
        try:
            shot = mesh.call(f"capture.{stream}.snapshot", format="png")
        except CallFailed as failed:
            assert failed.code == 503, failed  # noqa: PT017  # while nobody writes the ring
            return None
        return shot if shot["epoch"] > above else None

    shot = mesh.wait_for(take, what=f"a picture of {stream}")
    return shot["epoch"], np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB"))


def processes(mesh: RunningMesh) -> list[int]:
    """Of the mixes of this mesh."""
    return [pid for pid in children(mesh.pids()["cloud-mix-proxy"]) if MIX_PROCESS in command(pid)]


def spec_of(entry: Any, **changes: Any) -> dict[str, Any]:
    return {**entry["spec"], **changes}


def test_a_mix_is_a_stream(mesh: RunningMesh) -> None:
    actual = mesh.actual("streams", "wall")
    assert actual["state"] == "live"
    assert (actual["video"]["width"], actual["video"]["height"], actual["video"]["fps"]) == (640, 360, 30)
    assert actual["audio"] == {"codec": "pcm", "sample_rate": 48_000, "channels": 2}
    _, seen = picture(mesh)
    assert abs(seen[18, 32].astype(int) - (255, 0, 0)).max() < 16, "the logo"
    assert abs(seen[18, 300].astype(int) - (0, 0, 192)).max() < 40, "the last bar of the first test picture"
    assert mesh.actual("streams", "wall-clip")["state"] == "live"
    shown = mesh.run("status").stdout
    assert "a  b  clip" in shown


def test_what_is_wrong_is_said_and_changes_nothing(mesh: RunningMesh) -> None:
    revision = get(mesh)["revision"]
    for verb, changes, code, word in (
        ("create", {}, 409, "exists already"),
        ("create", {"mix": "a", "inputs": [{"input": "x", "source": "mesh://b"}]}, 409, "a stream 'a' exists"),
        ("create", {"mix": "new", "inputs": [{"input": "x", "source": "mesh://nobody"}]}, 400, "inputs.0.source"),
        ("create", {"mix": "new", "node": "elsewhere"}, 400, "node"),
        ("update", {"mix": "nobody"}, 404, "does not exist"),
        ("update", {"revision": revision - 1}, 409, "revision"),
        ("update", {"inputs": []}, 400, "inputs"),
        ("update", {"layout": "free"}, 400, "inputs.0.box"),
        ("update", {"colour": "red"}, 400, "colour"),
    ):
        with pytest.raises(CallFailed) as refused:
            mesh.call(f"cloud-mix-proxy.{verb}", **{**WALL, **changes})
        assert refused.value.code == code, refused.value
        assert word in str(refused.value)
    assert get(mesh)["revision"] == revision
    assert [entry["spec"]["mix"] for entry in mesh.call("cloud-mix-proxy.list")["mixes"]] == ["wall"]


def test_an_update_that_cannot_be_shown_leaves_what_is_seen(mesh: RunningMesh) -> None:
    before = get(mesh)
    epoch, _ = picture(mesh)
    for source, word in (
        ("file://nowhere.png", "nowhere.png"),
        ("file://broken.png", "broken"),
        ("https://10.255.255.1.invalid/x.png", "resolved"),
    ):
        logos = [{"source": source, "box": {"x": 0, "y": 0, "width": 64, "height": 36}}]
        with pytest.raises(CallFailed) as refused:
            mesh.call("cloud-mix-proxy.update", **{**WALL, "logos": logos}, wait_s=20)
        assert word in str(refused.value)
        actual = refused.value.reply["actual"]
        assert actual["state"] == "running"
        assert actual["applied_revision"] == before["actual"]["applied_revision"] < actual["revision"]
    now, seen = picture(mesh)
    assert now == epoch
    assert abs(seen[18, 32].astype(int) - (255, 0, 0)).max() < 16, "the logo of before"
    done = mesh.call("cloud-mix-proxy.update", **WALL, wait_s=20)
    assert done["actual"]["error"] is None
    assert done["actual"]["applied_revision"] == done["revision"]


def test_an_update_is_seen_without_a_new_start(mesh: RunningMesh) -> None:
    mesh.call("cloud-mix-proxy.update", **WALL, wait_s=20)
    all_live(mesh)
    epoch, before = picture(mesh)
    inputs = WALL["inputs"][:2]
    done = mesh.call("cloud-mix-proxy.update", **{**WALL, "inputs": inputs, "layout": "focus", "logos": []}, wait_s=20)
    assert [one["input"] for one in done["actual"]["inputs"]] == ["a", "b"]
    after_epoch, after = picture(mesh)
    assert after_epoch == epoch
    assert abs(after[18, 32].astype(int) - (255, 0, 0)).max() > 60, "the logo is gone"
    assert (before != after).mean() > 0.1
    mesh.wait_for(lambda: mesh.actual("streams", "wall-clip") is None, what="the input's own stream is gone")
    mesh.call("cloud-mix-proxy.update", **WALL, wait_s=20)
    all_live(mesh)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("changes", "pause_seconds"), [(4, 0.4), pytest.param(120, 1.0, marks=pytest.mark.long)])
def test_who_watches_sees_no_break_while_it_is_changed(
    mesh: RunningMesh, tmp_path: Path, changes: int, pause_seconds: float
) -> None:
    mesh.call("cloud-mix-proxy.update", **WALL, wait_s=20)
    all_live(mesh)
    restarts, [mixer] = get(mesh)["actual"]["restarts"], processes(mesh)
    two = {"inputs": WALL["inputs"][:2]}
    layouts: list[dict[str, Any]] = [
        {"layout": "focus", "focus": "b", "fade": "300ms", **two},
        {"layout": "picture-in-picture", "texts": [{"text": "{now:%S}", "x": 8, "y": 300}], "fade": "1s"},
        {"logos": [], "background": "#204060", "gap": 12},
        {"inputs": [{**one, "radius": 24, "border": 4, "opacity": 0.8} for one in WALL["inputs"][:2]]},
    ]
    memory: list[int] = []
    with watching(mesh, tmp_path) as files:
        for number in range(changes):
            began = time.monotonic()
            done = mesh.call("cloud-mix-proxy.update", **{**WALL, **layouts[number % len(layouts)]}, wait_s=20)
            assert done["actual"]["applied_revision"] == done["revision"], done
            memory.append(private_mb(mixer))
            time.sleep(max(0.0, pause_seconds - (time.monotonic() - began)))  # so often is what is tried
        small = mesh.call("cloud-mix-proxy.update", **{**WALL, "size": "320x180", "fps": 15}, wait_s=20)
        assert small["actual"]["error"] is None
        mesh.wait_for(lambda: mesh.actual("streams", "wall")["video"]["fps"] == 15, what="another rate")
    assert get(mesh)["actual"]["restarts"] == restarts
    assert processes(mesh) == [mixer]
    print(f"private MB {memory[0]} .. {memory[-1]}, most {max(memory)}")
    half = len(memory) // 2
    assert max(memory[half:]) < max(memory[:half]) + GROWTH_MB, memory
    seconds = goes_forward(files, GAP_SECONDS * slowness())
    assert seconds > changes * pause_seconds
    mesh.call("cloud-mix-proxy.update", **WALL, wait_s=20)
    all_live(mesh)


@pytest.mark.long
@pytest.mark.parametrize("killed", ["process", "service"])
def test_who_watches_goes_on_when_it_is_killed_in_a_change(mesh: RunningMesh, tmp_path: Path, killed: str) -> None:
    mesh.call("cloud-mix-proxy.update", **WALL, wait_s=20)
    all_live(mesh)
    with watching(mesh, tmp_path) as files:
        epoch, _ = picture(mesh)
        asked = mesh.call("cloud-mix-proxy.update", **WALL, gap=16, wait_s=0)["revision"]
        if killed == "process":
            os.kill(processes(mesh)[0], signal.SIGKILL)
        else:
            mesh.kill("cloud-mix-proxy")
        picture(mesh, above=epoch)
        mesh.wait_for(lambda: get(mesh)["actual"]["applied_revision"] == asked, what="the change is seen")
        time.sleep(2)  # of what comes then
    assert len(files) == 2, "one recording"
    goes_forward(files, RESTART_SECONDS * slowness())
    mesh.call("cloud-mix-proxy.update", **WALL, wait_s=20)
    all_live(mesh)


@contextlib.contextmanager
def watching(mesh: RunningMesh, folder: Path) -> Iterator[list[Path]]:
    """A player over RTSP and a recording; at the end what the player has seen, and the files that were recorded."""
    seen, files = folder / "seen.mkv", list[Path]()
    mesh.call("publisher.start-recording", stream="wall")
    player = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", f"{mesh.ready['rtsp']}wall", "-c", "copy", seen]
    )
    try:
        mesh.wait_for(lambda: seen.exists() and seen.stat().st_size > 0, what="the player plays")
        yield files
        assert player.poll() is None, "it plays still"
    finally:
        player.send_signal(signal.SIGINT)
        recorded = mesh.call("publisher.stop-recording", stream="wall")["files"]
        player.wait(10)
    files += [seen, *map(Path, recorded)]


def goes_forward(files: list[Path], most_seconds: float) -> float:
    """Times rise, by `most_seconds` at most; returns the last one that the player has seen."""
    for path in files:
        for kind in ("v", "a"):
            times = packet_times(path, kind)
            if path != files[0] and len(times) < 2:  # the recording of the last size was stopped at once
                continue
            steps = [after - before for before, after in pairwise(times)]
            assert min(steps) > 0, (path, kind)
            assert max(steps) < most_seconds, (path, kind)
    return packet_times(files[0], "v")[-1]


def private_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) >> 10


def packet_times(path: Path, kind: str) -> list[float]:
    """Seconds, in the order of decoding."""
    command = ["ffprobe", "-v", "error", "-select_streams", kind, "-show_entries", "packet=dts_time", "-of", "csv=p=0"]
    found = subprocess.run([*command, path], capture_output=True, text=True, check=True).stdout.split()
    return [float(time.strip(",")) for time in found]


def test_a_password_is_shown_nowhere_and_kept_by_who_moves_a_box(mesh: RunningMesh) -> None:
    camera = {"input": "camera", "source": f"rtsp://admin:{PASSWORD}@127.0.0.1:{free_port()}/1"}
    mesh.call("cloud-mix-proxy.create", mix="doors", inputs=[camera], size="320x180", wait_s=20)
    shown = get(mesh, "doors")
    assert "***" in shown["spec"]["inputs"][0]["source"]
    # Who moves something gives back what was read.
    mesh.call("cloud-mix-proxy.update", **spec_of(shown, background="#102030"), wait_s=20)
    moved = get(mesh, "doors")
    assert moved["spec"]["background"] == "#102030"
    assert moved["spec"]["sources_secret"] == shown["spec"]["sources_secret"]
    elsewhere = [{"input": "camera", "source": moved["spec"]["inputs"][0]["source"].replace("127.0.0.1", "127.0.0.2")}]
    with pytest.raises(CallFailed, match="full address"):
        mesh.call("cloud-mix-proxy.update", **spec_of(moved, inputs=elsewhere))
    everything = mesh.run("status", "--json").stdout + mesh.log.read_text()
    everything += "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in processes(mesh))
    assert PASSWORD not in everything
    assert sorted(secrets(mesh)) == ["capture.doors-camera", "cloud-mix-proxy.doors"]
    mesh.call("cloud-mix-proxy.delete", mix="doors")
    mesh.wait_for(lambda: secrets(mesh) == [], what="the secrets are gone")


def secrets(mesh: RunningMesh) -> list[str]:
    async def keys(bus: Bus) -> list[str]:
        return list(await (await bus.bucket(SECRETS_BUCKET)).entries())

    return mesh.ask(keys)


def test_public_only_leaves_this_machine_alone(mesh: RunningMesh) -> None:
    box = {"x": 0, "y": 0, "width": 64, "height": 36}
    for changes, word in (
        ({"inputs": [{"input": "x", "source": "file://bunny.mp4"}]}, "public_only"),
        ({"inputs": [{"input": "x", "source": f"http://127.0.0.1:{free_port()}/x.png"}]}, "this machine"),
        ({"logos": [{"source": "file://red.png", "box": box}]}, "logos.0.source"),
        ({"logos": [{"source": "http://10.0.0.1/red.png", "box": box}]}, "private network"),
    ):
        with pytest.raises(CallFailed) as refused:
            mesh.call(
                "cloud-mix-proxy.create",
                **{**WALL, "logos": [], "mix": "open", "public_only": True, **changes},
                wait_s=20,
            )
        assert refused.value.code == 400, refused.value
        assert word in str(refused.value)
        mesh.call("cloud-mix-proxy.delete", mix="open")


def test_a_lost_input_is_told_of_and_hidden_and_comes_back(mesh: RunningMesh) -> None:
    def brightest() -> int:
        return int(picture(mesh)[1][:100, 330:630].max())

    mesh.call("capture.start", stream="b", source="test://?size=640x360")  # where a try before this one has stopped it
    all_live(mesh)
    mesh.call("capture.stop", stream="b")
    mesh.wait_for(lambda: states(mesh)["b"] == "lost", what="b is lost")
    mesh.wait_for(lambda: brightest() < 24, what="what lies beneath it is the background")
    mesh.call("capture.start", stream="b", source="test://?size=640x360")
    all_live(mesh)
    mesh.wait_for(lambda: brightest() > 150, what="its pictures are seen again")


@pytest.mark.alone
@pytest.mark.parametrize("killed", ["process", "service"])
def test_what_is_killed_is_back_soon(mesh: RunningMesh, killed: str) -> None:
    epoch, _ = picture(mesh)
    began = time.monotonic()
    if killed == "process":
        os.kill(processes(mesh)[0], signal.SIGKILL)
    else:
        mesh.kill("cloud-mix-proxy")
    later, _ = picture(mesh, above=epoch)
    seconds = time.monotonic() - began
    print(f"{killed}: {seconds:.2f} s")
    assert later > epoch
    assert seconds < RESTART_SECONDS * slowness()
    all_live(mesh)
    actual = get(mesh)["actual"]
    assert (actual["state"], actual["error"]) == ("running", None)
    assert actual["restarts"] >= 1
    assert len(processes(mesh)) == 1


def test_a_mix_ends_by_itself_and_stays_so(mesh: RunningMesh) -> None:
    lost = [{"input": "camera", "source": f"rtsp://127.0.0.1:{free_port()}/1"}]
    mesh.call("cloud-mix-proxy.create", mix="short", inputs=lost, size="320x180", end_when_lost="500ms", wait_s=0)
    mesh.wait_for(lambda: (get(mesh, "short")["actual"] or {}).get("state") == "ended", what="it has ended")
    assert "end_when_lost" in get(mesh, "short")["actual"]["error"]["message"]
    mesh.wait_for(lambda: mesh.actual("streams", "short") is None, what="its stream is gone")
    assert mesh.actual("streams", "short-camera") is None
    assert len(processes(mesh)) == 1
    mesh.call("cloud-mix-proxy.delete", mix="short")


def test_still_pictures_alone_are_a_mix(mesh: RunningMesh) -> None:
    inputs = [{"input": "card", "source": "file://red.png"}]
    mesh.call("cloud-mix-proxy.create", mix="card", inputs=inputs, size="320x180", wait_s=20)
    mesh.wait_for(lambda: (get(mesh, "card")["actual"] or {}).get("fps", 0) > 0, what="it has told of itself")
    actual = get(mesh, "card")["actual"]
    assert (actual["state"], actual["restarts"], actual["error"]) == ("running", 0, None)
    assert [(one["state"], one.get("stream", "")) for one in actual["inputs"]] == [("live", "")]
    mesh.call("cloud-mix-proxy.delete", mix="card")


def test_nothing_is_left_of_a_mix_that_is_deleted(mesh: RunningMesh) -> None:
    mesh.call("cloud-mix-proxy.delete", mix="wall", wait_s=20)
    mesh.wait_for(lambda: {s["spec"]["stream"] for s in mesh.status()["streams"]} == {"a", "b"}, what="its streams go")
    assert processes(mesh) == []
    mesh.wait_for(lambda: not [ring for ring in mesh.rings() if "wall" in ring], what="its rings go")
    with pytest.raises(CallFailed) as gone:
        get(mesh)
    assert gone.value.code == 404
