"""`framemesh up --demo`: one command to a picture, and the time code in it tells how old it is."""

import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from shared.media import timecode
from tests.support.console import CHROMIUM, ConsolePage, console_page
from tests.support.mesh import RunningMesh
from tests.support.metrics import families
from tests.support.pace import slowness

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.alone,
    pytest.mark.timeout(60),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]

TO_PICTURE_SECONDS = 5.0  # the promise for a warm machine
MAX_AGE_MS = 500
VIEWERS = 3


@pytest.fixture(scope="module")
def console() -> Iterator[ConsolePage]:
    with console_page() as page:
        yield page


@pytest.fixture(scope="module")
def mesh(console: ConsolePage) -> Iterator[RunningMesh]:
    began = time.monotonic()
    with RunningMesh("--demo") as running:
        ready_seconds = time.monotonic() - began
        console.open(running.console)
        console.playing("demo", seconds=10, frames=1)
        picture_seconds = time.monotonic() - began
        print(f"\nready after {ready_seconds:.2f} s, picture in the browser after {picture_seconds:.2f} s")
        running.environment["PICTURE_SECONDS"] = str(picture_seconds)
        yield running


def test_picture_is_there_soon(mesh: RunningMesh) -> None:
    assert float(mesh.environment["PICTURE_SECONDS"]) < TO_PICTURE_SECONDS * slowness()


def test_page_measures_the_latency(mesh: RunningMesh, console: ConsolePage) -> None:
    console.until("tile('demo').latencyMs !== null && tile('demo').latencySource === 'capture'")
    tile = console.tile("demo")
    print(f"latency {tile['latencyMs']:.1f} ms, join {tile['joinMs']:.0f} ms, {tile['fps']:.1f} fps")
    assert 0 < tile["latencyMs"] < MAX_AGE_MS
    assert not console.complaints


def test_every_recorded_picture_has_a_plausible_time_code(mesh: RunningMesh) -> None:
    began_ms = time.time_ns() // 1_000_000
    mesh.call("publisher.start", stream="demo", output="file", to="file://demo.mp4")
    mesh.wait_for(
        lambda: mesh.actual("outputs", "demo", "file")["bytes_written"] > 500_000, what="a second of pictures"
    )
    mesh.call("publisher.stop", stream="demo", output="file")
    ended_ms = time.time_ns() // 1_000_000
    codes, times = _time_codes(mesh.media_dir / "demo.mp4", ended_ms)
    assert len(codes) > 20
    assert None not in codes
    steps = np.diff(codes)
    assert steps.min() > 0, "time in the pictures runs backwards"
    # One picture may have been in the making when the output was asked for; none can be younger than the file.
    assert began_ms - MAX_AGE_MS <= codes[0] <= codes[-1] <= ended_ms
    drift_ms = np.array(codes) - codes[0] - np.array(times) * 1e3
    assert np.abs(drift_ms).max() < 40, "time stamps of the file and time codes in its pictures differ"


def _time_codes(path: Path, now_ms: int) -> tuple[list[int], list[float]]:
    codes, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            luma = frame.to_ndarray(format="gray")
            codes.append(timecode.read(luma, now_ms))
            times.append(float(frame.time or 0.0))
    return codes, [at - times[0] for at in times]  # type: ignore[return-value]


def test_pictures_reach_the_encoder_young(mesh: RunningMesh) -> None:
    """The service's own histogram agrees: every picture leaves the encoder less than half a second old."""
    buckets = {
        sample.labels["le"]: sample.value
        for family in families(mesh.ready["metrics"]["hw-encode"])
        for sample in family.samples
        if sample.name == "framemesh_hw_encode_latency_seconds_bucket"
    }
    assert buckets["+Inf"] > 20
    young = max(value for le, value in buckets.items() if le != "+Inf" and float(le) <= MAX_AGE_MS / 1e3)
    assert young == buckets["+Inf"]


def test_more_viewers_make_no_more_series(mesh: RunningMesh, console: ConsolePage) -> None:
    """Labels are names of resources and reasons; nothing that grows with viewers, addresses or sessions."""

    def series() -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        return {
            (sample.name, tuple(sorted(sample.labels.items())))
            for url in mesh.ready["metrics"].values()
            for family in families(url)
            for sample in family.samples
        }

    before = series()
    for _ in range(VIEWERS):
        console.page.reload()
        console.playing("demo", frames=2)
    grown = {name for name, _ in series() - before}
    # A reason that had not occurred before may appear, once.
    assert len(series() - before) <= VIEWERS, grown
    assert not any(len(value) > 40 for _, labels in series() for _, value in labels)
