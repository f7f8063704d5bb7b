"""The whole programs in the documents, in Python and JavaScript, run on one mesh as they stand."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.doc_blocks import Block, blocks
from tests.support.made_once import CACHE
from tests.support.mesh import RunningMesh, bunny

pytestmark = pytest.mark.integration

PYTHON = [block for block in blocks() if block.language == "python"]
JAVASCRIPT = [block for block in blocks() if block.language == "js"]
NODE_PACKAGES = CACHE / "node-nats-3.4.0" / "node_modules"
_SECONDS = 60.0
_STARTED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background

ENDLESS = ("Mesh.connect()", 'Mesh.connect(name="brightness")', 'AsyncMesh.connect(name="bell")')
"""Found in programs that run until Ctrl-C."""
ENDING = ("las_video_frame_extract", "OpenVideo.of_path", "smartvisionsdk", "sail.Encoder")
ELSEWHERE = {
    "AESGCM": "test_transforms",
    "LiveService": "test_cloud_mix_clients",
    "las_udf": "test_daft_sampler",
    "read_index": "test_recordings",
    "Sora()": "test_sora",
}
"""Programs that other tests run, or do the same as."""
PARTS = ("sora.create_connection", "forwarding_filter", "Target(")
"""Of programs that stand elsewhere: they are compiled."""


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        for stream in ("cam0", "line1"):
            running.call("capture.start", stream=stream, source="test://?size=384x216&fps=25")
        videos = running.folder / "data" / "tos" / "my-bucket" / "videos"
        videos.mkdir(parents=True)
        shutil.copy(bunny(), videos / "sample.mp4")
        yield running


def _found(marks: tuple[str, ...]) -> list[Block]:
    return [block for block in PYTHON if any(mark in block.text for mark in marks)]


def test_each_program_is_run_somewhere() -> None:
    for block in PYTHON:
        compile(block.text, block.where, "exec")
        marks = [mark for mark in (*ENDLESS, *ENDING, *ELSEWHERE, *PARTS) if mark in block.text]
        assert marks, f"{block.where} is run by no test: name it in one of the tables"
    for mark in (*ENDLESS, *ENDING, *ELSEWHERE, *PARTS):
        assert any(mark in block.text for block in PYTHON), f"{mark} is nowhere any more"
    tests = Path(__file__).parent
    assert all((tests / f"{name}.py").exists() for name in ELSEWHERE.values())


def test_programs_that_go_on_until_ctrl_c(mesh: RunningMesh, tmp_path: Path) -> None:
    """All at once: each says something, or is still there, and ends without a word of complaint of its own."""
    running = []
    for block in _found(ENDLESS):
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", _STARTED + block.text],
            env=mesh.environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append((block, process))
    try:
        mesh.wait_for(lambda: mesh.actual("streams", "brightness"), seconds=20, what="the stream of a program")
        mesh.wait_for(
            lambda: (mesh.actual("streams", "brightness") or {}).get("state") == "live", what="its first picture"
        )
        for block, process in running:
            assert process.stdout is not None
            if "print(" in block.text:
                mesh.wait_for(lambda out=process.stdout: _says(mesh, out), seconds=20, what=block.where)
                assert os.read(process.stdout.fileno(), 1 << 16).strip()
            assert process.poll() is None, f"{block.where} has ended"
            process.send_signal(signal.SIGINT)
        for block, process in running:
            _, complaint = process.communicate(timeout=_SECONDS)
            assert re.search(rb"KeyboardInterrupt\s*$", complaint), f"{block.where}: {complaint.decode()}"
    finally:
        for _, process in running:
            process.kill()
            process.wait()


def _says(mesh: RunningMesh, out: IO[bytes]) -> bool:
    """Whether a program has something to say; something happens, for those that wait for it."""
    mesh.call("capture.start", stream="more", source="test://?size=384x216&fps=5")
    mesh.call("capture.stop", stream="more")
    return bool(select.select([out], [], [], 0.1)[0])


def test_programs_that_end(mesh: RunningMesh, tmp_path: Path) -> None:
    for name in ("clip.mp4", "in.mp4"):
        (tmp_path / name).symlink_to(bunny())
    environment = {
        **mesh.environment,
        "LAS_BASE_URL": mesh.ready["extraction"].rstrip("/"),
        "LAS_API_KEY": "any",
        "VIDEO_URL": "tos://my-bucket/videos/sample.mp4",
    }
    for block in _found(ENDING):
        done = subprocess.run(
            [sys.executable, "-c", block.text],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, f"{block.where}: {done.stderr}"
        if "print(" in block.text:
            assert done.stdout.strip(), f"{block.where} says nothing"


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_programs_in_javascript(mesh: RunningMesh, tmp_path: Path) -> None:
    """Each is JavaScript; one that imports packages is run, the others are for pages in browsers."""
    (tmp_path / "node_modules").symlink_to(NODE_PACKAGES)
    for number, block in enumerate(JAVASCRIPT):
        program = tmp_path / f"{number}.mjs"
        program.write_text(block.text)
        done = subprocess.run(["node", "--check", program], capture_output=True, text=True, timeout=_SECONDS)
        assert done.returncode == 0, f"{block.where}: {done.stderr}"
        if block.text.startswith("import "):
            if not NODE_PACKAGES.exists():
                pytest.skip("the packages for Node are not there; see ops/test-programs.sh")
            done = subprocess.run(
                ["node", program], env=mesh.environment, capture_output=True, text=True, timeout=_SECONDS
            )
            assert done.returncode == 0, f"{block.where}: {done.stderr}"
            assert "event capture node0 state live" in done.stdout
            packets = re.findall(r"^packet h264 (\d+) (true|false) (\d+)$", done.stdout, re.MULTILINE)
            assert len(packets) == 25, done.stdout
            assert packets[0][1] == "true", "it begins with a key picture"
            sequences = [int(sequence) for sequence, _, _ in packets]
            assert sequences == sorted(set(sequences))
            assert mesh.actual("streams", "node0") is None


def test_the_configuration_for_nginx_is_one(tmp_path: Path) -> None:
    for number, block in enumerate(block for block in blocks() if block.language == "nginx"):
        configuration = tmp_path / f"{number}.conf"
        configuration.write_text(f"pid {tmp_path}/pid; error_log stderr;\n{block.text}")
        done = subprocess.run(
            ["nginx", "-t", "-e", "stderr", "-p", tmp_path, "-c", configuration],
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block.where}: {done.stderr}"
