"""Every block of code in README.md, docs/ and examples/ is run or checked: what is neither is an error.

The lines for a shell are run against one mesh, as they stand, with what is here in the place of what they name. What
cannot be run here is in one table, with the reason; of that the command line's own parser must still take it.
"""

import asyncio
import contextlib
import itertools
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.__main__ import _joined, _parser
from tests.support.doc_blocks import ROOT, blocks, commands
from tests.support.doc_shell import DocShell, Line
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.modbus_plc import Plc
from tests.support.peers import free_port, rtmp_server
from tests.support.rtsp_server import rtsp_server

pytestmark = pytest.mark.integration

BLOCKS = blocks()
SHELL = [block for block in BLOCKS if block.language == "sh"]
PAGES = sorted({block.page for block in SHELL})
NODE = "edge1"

NOT_HERE = {
    r"^make ": "it starts this very test",
    r"\bdocker\b|mesh\.env": "needs Docker: test_compose and test_fleet_containers",
    r"^kubectl|^ssh |\bkubectl -n": "needs a cluster: test_kubernetes",
    r"systemctl|journalctl|systemd-(sysusers|tmpfiles)|/etc/|/opt/": "changes the machine: test_systemd_units",
    r"^install |chown": "changes who owns files of the machine",
    r"^\. \.venv": "what `make demo` has made is where this test comes from",
    r"^pip install": "what is installed here is what is tested",
    r"ops/prometheus/|^prometheus ": "writes into the repository: test_promtool",
    r"nats-setup|tls://|secrets env ": "needs the locked bus of another host: test_locked_bus, test_nats_cluster",
    r"--signal reload|FRAMEMESH_LEAF_SEED": "needs the server of another host: test_edge_host",
    r"fleet (scale|restart|stop|start)|cmd\.fleet\.": "stops what other lines need: test_fleet",
    r"fleet .*--docker": "needs Docker: test_fleet_containers",
    r"-m services\.": "another gateway of the mesh: test_gateways",
    r"up --secure|up --nats|OTLP_ENDPOINT|TOKEN_KEY_FILE": "another mesh: test_locked_bus, test_edge_host, test_door",
    r"^framemesh top$": "needs a terminal: test_top_screen",
    r"^gst-launch": "opens a window: test_passthrough",
    r"https://server/whip": "needs a WHIP server: test_whip_output",
    r"^python examples/": "test_examples",
    r"--only encoders": "tries every encoder: test_hw_encode",
}
ENDLESS = r"signal watch|nats sub|--follow|^ffmpeg -i"
SLOW = ("doctor", "kubernetes", "many-hosts", "security", "troubleshooting")
"""Pages whose lines look at the whole machine, or make keys."""
REFUSED = {
    r"capture\.cam0\.ptz": "error 4",  # it is no camera that moves
    r"4f1e2a|33EGOZ|channels (push|end)|4bf92f35": "error 404",
    r"2026-?05-?04": "404",
}


@pytest.fixture(scope="module")
def plc() -> Iterator[int]:
    """The port of a PLC."""
    loop, device = asyncio.new_event_loop(), Plc()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield asyncio.run_coroutine_threadsafe(device.serve_tcp(), loop).result(10)
    asyncio.run_coroutine_threadsafe(device.vanish(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, plc: int) -> Iterator[tuple[DocShell, RunningMesh]]:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "io").mkdir()
    environment = {
        "FRAMEMESH_NODE": NODE,
        "FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(folder / "io"),
        "FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000",
    }
    with (
        rtsp_server(live=True) as camera,
        rtmp_server(folder / "rtmp") as rtmp,
        RunningMesh(environment=environment) as mesh,
    ):
        here = {
            r"rtsp://[^/'\"\s]+/(stream1|1)\b": f"rtsp://127.0.0.1:{camera.port}/1",
            r"rtmp://server/app/key": rtmp.url,
            r"http://127\.0\.0\.1:8889": mesh.console.rstrip("/"),
            r"127\.0\.0\.1:8554": mesh.ready["rtsp"].removeprefix("rtsp://").rstrip("/"),
            r"http://127\.0\.0\.1:9101": mesh.ready["metrics"]["capture"].removesuffix("/metrics"),
            r"udp://239\.1\.2\.3:5000": f"udp://127.0.0.1:{free_port()}",
            r"tcp://10\.0\.0\.5:502": f"tcp://127.0.0.1:{plc}",
            r"/tmp/io\b": str(folder / "io"),
            r"/dev/shm/framemesh": str(mesh.shm_dir),
            r"/clips/line1\.mp4": str(mesh.media_dir / "line1.mp4"),
            r"\.venv/bin/framemesh": "framemesh",
            r"--to \+5s": "--to +500ms",  # nobody needs to wait for it
            r"^curl ": "curl --fail-with-body ",
            r"^framemesh secrets init secrets": "rm -rf secrets; framemesh secrets init secrets",  # of another network
        }

        def fill(text: str) -> str:
            for pattern, value in here.items():
                text = re.sub(pattern, value, text, flags=re.MULTILINE)
            return f"endless {text}" if re.search(ENDLESS, text) else text

        shutil.copy(bunny(), mesh.media_dir / "line1.mp4")
        with DocShell(mesh, folder / "shell", fill) as ready:
            yield ready, mesh


def _not_here(command: str) -> bool:
    return any(re.search(pattern, command) for pattern in NOT_HERE)


def _prepare(mesh: RunningMesh, fill: "DocShell", folder: Path, page: Path) -> None:
    """What the lines of a page speak of: streams, a video, a mesh file."""
    folder.mkdir()
    shutil.copy(bunny(), folder / "clip.mp4")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "ops").mkdir()
    (folder / "ops" / "ring").symlink_to(ROOT / "ops" / "ring")
    described = [block.text for block in BLOCKS if block.page == page and block.language == "yaml"]
    camera = fill.fill("rtsp://camera.local/stream1")
    (folder / "mesh.yaml").write_text(fill.fill(described[0]) if described else f"streams: {{cam0: '{camera}'}}\n")
    for stream in ("cam0", "cam1"):
        mesh.call("capture.start", stream=stream, source=camera)
    mesh.call("capture.start", stream="line1", source="test://?size=384x216&fps=25")


def _end_recordings(mesh: RunningMesh) -> None:
    """Those that lines have begun: pages begin them anew."""
    for recording in mesh.call("publisher.list")["outputs"]:
        spec = recording["spec"]
        with contextlib.suppress(CallFailed):  # it is no recording by hand
            mesh.call("publisher.stop-recording", stream=spec["stream"])


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=pytest.mark.long if page.stem in SLOW else ()) for page in PAGES],
)
def test_the_lines_for_a_shell_do_what_they_say(
    shell: tuple[DocShell, RunningMesh], page: Path, tmp_path: Path
) -> None:
    runner, mesh = shell
    own = [block for block in SHELL if block.page == page]
    if all(_not_here(command) for block in own for command in commands(block.text)):
        return
    with contextlib.ExitStack() as stack:
        folder = mesh.folder / f"{page.stem}-{tmp_path.name}"
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(_end_recordings, mesh)
        _prepare(mesh, runner, folder, page)
        port = mesh.ready["metrics"]["capture"].rpartition(":")[2].partition("/")[0]
        known = {"CAM_PASSWORD": "secret", "TOKEN": "none", "FRAMEMESH_CAPTURE_METRICS_PORT": port}
        wrong = []
        for block in own:
            lines = [command for command in commands(block.text) if not _not_here(command)]
            told = runner.run(lines, folder, **known)
            wrong += [f"{block.where}: {line.text}\n  {problem}" for line in told if (problem := _problem(line))]
    assert not wrong, "\n".join(wrong)


def _problem(line: Line) -> str:
    said = f"code {line.code}: {line.said.strip()[-600:]}"
    if "Traceback" in line.said:
        return said
    expected = next((error for pattern, error in REFUSED.items() if re.search(pattern, line.text)), "")
    if expected:
        return "" if line.code and expected in line.said else f"{expected!r} is awaited, not {said}"
    return said if line.code else ""


def _typed(command: str) -> Iterator[list[str]]:
    """The arguments of each `framemesh` in a line, also of one whose output is put into another."""
    if "framemesh" not in command:
        return
    tokens = shlex.shlex(command.replace('"$(', ";").replace(')"', ";"), posix=True, punctuation_chars=True)
    tokens.whitespace_split, tokens.commenters = True, ""
    for ends, words in itertools.groupby(tokens, lambda token: set(token) <= set(tokens.punctuation_chars)):
        found = [] if ends else list(itertools.dropwhile(lambda word: "=" in word, words))
        if found and found[0].endswith("framemesh"):
            yield found[1:]


def test_the_command_line_knows_what_is_typed() -> None:
    """Also of what is not run."""
    parser = _parser()
    for block in SHELL:
        for arguments in itertools.chain.from_iterable(map(_typed, commands(block.text))):
            try:
                parser.parse_args(_joined(arguments))
            except SystemExit:
                pytest.fail(f"{block.where}: framemesh {shlex.join(arguments)}")


def test_what_is_not_run_is_still_there() -> None:
    """An entry that fits no line any more is taken out of the table."""
    everything = [command for block in SHELL for command in commands(block.text)]
    for pattern in (*NOT_HERE, *REFUSED, ENDLESS):
        assert any(re.search(pattern, command) for command in everything), pattern
