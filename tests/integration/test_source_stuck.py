"""A source whose driver hangs: the stream goes on beside it, a changed spec is not held up, and it is counted."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.client import async_client
from tests.support.mesh import RunningMesh
from tests.support.metrics import total
from tests.support.state_log import StateLog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

# Read by every Python of the mesh as it starts. In capture, which the fork server makes, the first two patterns are
# drawn by a driver that gives ten pictures and then never returns from its next call, whatever it is told.
HANGING_DRIVER = """
import sys
if "services.launcher.fork_server" in sys.orig_argv:
    import threading
    from shared.quick_start import quick_start
    with quick_start():  # without the threads that numpy would begin
        from services.capture.sources import pattern
    run, lives = pattern.PatternSource.run, iter(range(100))
    class TenPictures(Exception): pass
    def hang(self, sink, stop):
        if next(lives) >= 2:
            return run(self, sink, stop)
        arrived, left = sink.arrived, iter(range(10))
        def count(*args):
            arrived(*args)
            if next(left, None) is None:
                raise TenPictures
        sink.arrived = count
        try:
            run(self, sink, stop)
        except TenPictures:
            sink.arrived = arrived
            threading.Event().wait()
    pattern.PatternSource.run = hang
"""


@pytest.mark.long  # it waits for as long as a driver may hang
async def test_a_driver_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING_DRIVER)
    environment = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": "2",
    }
    with RunningMesh(environment=environment) as mesh:
        metrics = mesh.ready["metrics"]["capture"]
        async with async_client(mesh) as app:
            started = await app.start_stream("hung", "test://?size=384x216&fps=25&tone=0", wait_s=5)
            assert started.actual is not None
            async with StateLog.watching(app, "hung") as log:
                assert (await log.reaches("stalled")).stats["epoch"] == started.actual.epoch
                # The second one gives ten pictures too, under a new epoch that the hanging one can never write to.
                first = started.actual.epoch
                await log.until(lambda sample: sample.state == "live" and sample.stats["epoch"] > first)
                await log.reaches("stalled")
                # A changed spec waits for the driver as long as for any source, and then goes on without it.
                changed = await asyncio.wait_for(app.start_stream("hung", "test://?size=640x360&fps=10", wait_s=9), 9)
                assert changed.actual is not None
                assert changed.actual.state == "live"
                await log.until(lambda sample: sample.stats["source_width"] == 640 and sample.stats["fps"] > 8)
            assert "does not let go" in mesh.log.read_text()
            assert total(metrics, "framemesh_capture_stuck_sources_total") == 2
            assert total(metrics, "framemesh_capture_stuck_threads") == 2
            await app.stop_stream("hung")
        mesh.wait_for(lambda: not [name for name in mesh.rings() if name.startswith("hung")], 3, "no rings")
