"""An encoder that fails in a running mesh: the next takes over within the run, and it is said."""

import asyncio
from pathlib import Path

import pytest

from tests.support.client import async_client
from tests.support.mesh import RunningMesh
from tests.support.metrics import total

pytestmark = pytest.mark.integration

FAULTY = Path(__file__).parents[1] / "support/faulty_encoder"


async def test_the_next_encoder_takes_over_and_it_is_said() -> None:
    with RunningMesh(environment={"PYTHONPATH": str(FAULTY)}) as mesh:
        async with async_client(mesh) as app, app.events(service="hw-encode") as events:
            await app.start_stream("cam0", "test://?size=640x360&fps=30")
            await app.start_rendition("cam0", always=True)
            async with asyncio.timeout(15):
                event = await anext(found async for found in events if found.event == "encoder-changed")
        assert (event.id, event.detail["from"], event.detail["to"]) == ("cam0--main", "libx264_faulty", "libx264")
        assert "device lost" in event.detail["reason"]
        actual = mesh.actual("renditions", "cam0")
        assert (actual["state"], actual["encoder"], actual["hardware"]) == ("running", "libx264", False)
        metrics = mesh.ready["metrics"]["hw-encode"]
        assert total(metrics, "framemesh_hw_encode_failovers_total", stream="cam0", rendition="main") == 1
        # Told of at the change, made with the next picture.
        mesh.wait_for(
            lambda: total(metrics, "framemesh_hw_encode_key_frames_total", stream="cam0", rendition="main") >= 2,
            what="a key frame of the next encoder",
        )
