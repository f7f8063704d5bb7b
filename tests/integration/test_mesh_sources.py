"""Every kind of network source: live soon, recorded, and live again by itself after its sender died."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mesh import RunningMesh
from tests.support.metrics import total
from tests.support.peers import probe
from tests.support.senders import (
    HlsPlaylist,
    HttpFile,
    RtmpThroughServer,
    RtspCamera,
    Sender,
    SrtListener,
    UdpTransportStream,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

LIVE_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 2.0
# A sender that says nothing any more is given up after the read timeout; SRT's own is 3 s, and a playlist is read again
# some times before it counts as dead.
NOTICED_SECONDS = READ_TIMEOUT_SECONDS + 8
BACK_SECONDS = 15.0
RECORDED_BYTES = 100_000


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    quick = {
        "FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT_SECONDS),
        "FRAMEMESH_HW_ENCODE_IDLE_SECONDS": "1",
    }
    with RunningMesh(environment=quick) as running:
        yield running


@pytest.mark.parametrize(
    "kind",
    [
        RtspCamera,
        RtmpThroughServer,
        pytest.param(SrtListener, marks=pytest.mark.long),  # test_listeners has its senders come and go
        UdpTransportStream,
        HttpFile,
        pytest.param(HlsPlaylist, marks=pytest.mark.long),
    ],
)
def test_source_lives_dies_and_lives_again(mesh: RunningMesh, tmp_path: Path, kind: type[Sender]) -> None:
    sender = kind(tmp_path)
    name = kind.__name__.lower()

    # Read from the metrics: asking the command line takes a process each time.
    def live() -> bool:
        return total(mesh.ready["metrics"]["capture"], "framemesh_capture_live", stream=name) == 1

    def written() -> float:
        return total(mesh.ready["metrics"]["publisher"], "framemesh_publisher_bytes_total", stream=name)

    with sender.serving():
        with sender.sending():
            began = time.monotonic()
            mesh.call("capture.start", stream=name, source=sender.url, wait_s=0)
            mesh.wait_for(live, LIVE_SECONDS, f"{name} is live")
            first_seconds = time.monotonic() - began
            actual = mesh.actual("streams", name)
            assert (actual["video"]["width"], actual["video"]["height"]) == sender.size
            assert (actual["audio"] is not None) == sender.sound
            mesh.call("publisher.start", stream=name, output="file", to=f"file://{name}.mp4")
            mesh.wait_for(lambda: written() > RECORDED_BYTES, 20, "a recording that grows")
        mesh.wait_for(lambda: not live(), NOTICED_SECONDS, "the loss is noticed")
        lost = mesh.actual("streams", name)
        assert lost["error"] or lost["waiting_for"]
        assert lost["state"] in ("reconnecting", "connecting", "stalled")
        before = written()
        with sender.sending():
            began = time.monotonic()
            mesh.wait_for(live, BACK_SECONDS, f"{name} is live again")
            back_seconds = time.monotonic() - began
            mesh.wait_for(lambda: written() > before + RECORDED_BYTES // 2, 20, "the recording goes on")
            mesh.call("publisher.stop", stream=name, output="file")
            mesh.call("capture.stop", stream=name)
    tracks: dict[str, float] = {}
    for path in sorted(mesh.media_dir.glob(f"{name}*.mp4")):
        for track, found in probe(path).items():
            assert (found.width, found.height) == (sender.size if track == "video" else (0, 0))
            assert min(b - a for a, b in zip(found.dts, found.dts[1:], strict=False)) > 0
            tracks[track] = tracks.get(track, 0) + found.decoded
    assert tracks["video"] > 20
    assert tracks.get("audio", 0) > 20 or not sender.sound
    print(f"\n{name}: live after {first_seconds:.1f} s, again after {back_seconds:.1f} s")
