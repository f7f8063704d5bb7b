"""What a person sees of a stream whose source is not there, in the console of a running mesh."""

import contextlib

import pytest

from tests.support.console import CHROMIUM, console_page
from tests.support.mesh import CallFailed, RunningMesh

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
NOBODY = "rtsp://127.0.0.1:9/cam"  # port 9 refuses
GREY_BLUE_SPREAD = 40  # of the slate's channels; a test picture's bars differ by 190


def test_a_page_opened_while_the_source_is_lost_shows_the_slate() -> None:
    with RunningMesh() as mesh, console_page() as console:
        with contextlib.suppress(CallFailed):  # 503: what capture met so far
            mesh.call("capture.start", stream="door", source=NOBODY, on_loss="slate", wait_s=2)
        mesh.call("capture.start", stream="verdict", source="app://", wait_s=2)
        console.open(mesh.console)
        console.playing("door", seconds=15, frames=3)
        edge = console.thumbnail("door")[2].astype(int)  # the letters are in the middle
        assert edge.max(axis=1).min() > 30, "black is no slate"
        assert (edge.max(axis=1) - edge.min(axis=1)).max() < GREY_BLUE_SPREAD
        chips = {name: console.page.inner_text(f'.tile[data-stream="{name}"] .chip') for name in ("door", "verdict")}
        assert chips == {"door": "Reconnecting", "verdict": "Waiting for the application"}
        assert console.complaints == []
