"""Nothing is decoded or encoded unless somebody looks; and what the services say of themselves to Prometheus."""

import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.mesh import RunningMesh, bunny
from tests.support.metrics import families, text, total

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

IDLE_SECONDS = 1.0
MEASURED_SECONDS = 3.0
# Forwarding the packets of one 720p stream; decoding it would take several times that.
MAX_IDLE_CPU = {
    "capture": 0.15,
    "hw-encode": 0.05,
    "publisher": 0.05,
    "webrtc-gateway": 0.08,
    "cloud-mix-proxy": 0.05,
    "io-signal": 0.05,
}
SERVICES = tuple(MAX_IDLE_CPU)


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_HW_ENCODE_IDLE_SECONDS": str(IDLE_SECONDS)}) as running:
        shutil.copy(bunny(), running.media_dir / "bunny.mp4")
        running.call("capture.start", stream="cam0", source="file://bunny.mp4")
        yield running


def _cpu_seconds(mesh: RunningMesh, service: str) -> float:
    return total(mesh.ready["metrics"][service], "process_cpu_seconds_total")


def _state(mesh: RunningMesh) -> str:
    return str(mesh.actual("renditions", "cam0", "main")["state"])


def test_without_viewers_nothing_is_decoded(mesh: RunningMesh) -> None:
    capture = mesh.ready["metrics"]["capture"]
    assert mesh.actual("streams", "cam0")["decoding"] is False
    assert _state(mesh) == "idle"
    forwarded = total(capture, "framemesh_capture_packets_total")
    before, began = {service: _cpu_seconds(mesh, service) for service in SERVICES}, time.monotonic()
    time.sleep(MEASURED_SECONDS)  # measuring is waiting here
    seconds = time.monotonic() - began
    used = {service: (_cpu_seconds(mesh, service) - before[service]) / seconds for service in SERVICES}
    print("CPU with nobody looking:", {service: f"{share:.1%}" for service, share in used.items()})
    assert {service: share for service, share in used.items() if share > MAX_IDLE_CPU[service]} == {}
    assert total(capture, "framemesh_capture_packets_total") > forwarded, "the source itself goes on"
    assert total(capture, "framemesh_capture_frames_total") == 0


def test_source_recording_does_not_decode(mesh: RunningMesh) -> None:
    mesh.call("publisher.start", stream="cam0", output="raw", to="file://raw.mp4", rendition="source")
    mesh.wait_for(lambda: mesh.actual("outputs", "cam0", "raw")["bytes_written"] > 0, what="bytes of the source")
    assert mesh.actual("streams", "cam0")["decoding"] is False
    assert _state(mesh) == "idle"
    mesh.call("publisher.stop", stream="cam0", output="raw")


def test_encoder_runs_while_wanted_and_ends_after_the_idle_time(mesh: RunningMesh) -> None:
    mesh.call("publisher.start", stream="cam0", output="file", to="file://main.mp4")
    mesh.wait_for(lambda: _state(mesh) == "running", what="running")
    mesh.wait_for(lambda: mesh.actual("streams", "cam0")["decoding"], what="decoding")
    mesh.call("publisher.stop", stream="cam0", output="file")
    began = time.monotonic()
    mesh.wait_for(lambda: _state(mesh) == "idle", what="idle again")
    mesh.wait_for(lambda: not mesh.actual("streams", "cam0")["decoding"], what="no decoding")
    # Demand that is withdrawn counts at once; the rest is one status per poll.
    assert time.monotonic() - began < IDLE_SECONDS + 3


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_are_described_and_named(mesh: RunningMesh, service: str) -> None:
    url = mesh.ready["metrics"][service]
    names = re.findall(r"^# TYPE (\S+) ", text(url), re.MULTILINE)
    own = [name for name in names if name.startswith("framemesh_")]
    prefix = "framemesh_webrtc_" if service == "webrtc-gateway" else f"framemesh_{service.replace('-', '_')}_"
    assert any(name.startswith(prefix) for name in own), own
    assert [name for name in names if not name.startswith(("framemesh_", "process_", "python_"))] == []
    for family in families(url):
        assert family.documentation, f"{family.name} has no HELP"
        for sample in family.samples:
            labels = set(sample.labels) - {"le"}
            assert not labels & {"session", "pid", "instance", "ip", "address", "url", "error"}, sample


@pytest.mark.parametrize("service", SERVICES)
def test_health_answers(mesh: RunningMesh, service: str) -> None:
    base = mesh.ready["metrics"][service].removesuffix("/metrics")
    for path in ("/healthz", "/readyz"):
        with urllib.request.urlopen(base + path, timeout=5) as reply:
            assert reply.status == 200
    with pytest.raises(urllib.error.HTTPError) as nothing:
        urllib.request.urlopen(base + "/etc/passwd", timeout=5)
    assert nothing.value.code == 404


def test_series_of_a_stopped_stream_go(mesh: RunningMesh) -> None:
    def mentions(name: str) -> list[str]:
        return [
            sample.name
            for url in mesh.ready["metrics"].values()
            for family in families(url)
            for sample in family.samples
            if any(name in value for value in sample.labels.values())
        ]

    mesh.call("capture.start", stream="passer-by", source="test://?size=640x360&fps=10")
    mesh.call("publisher.start", stream="passer-by", output="file", to="file://passer.mp4")
    writers = {"capture", "hw", "publisher"}
    mesh.wait_for(
        lambda: writers <= {name.split("_")[1] for name in mentions("passer-by")}, what="series of three services"
    )
    mesh.call("publisher.stop", stream="passer-by", output="file")
    mesh.call("capture.stop", stream="passer-by")
    mesh.wait_for(lambda: not mentions("passer-by"), what="no series of a stream that has been stopped")
