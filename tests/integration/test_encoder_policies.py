"""What each policy does in a whole mesh: without hardware, and with hardware that fails."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.support.client import Viewer, async_client
from tests.support.mesh import RunningMesh

pytestmark = pytest.mark.integration

_FAULTY = Path(__file__).parents[1] / "support/faulty_encoder"
_SOURCE = "test://?size=384x216&fps=30"


async def test_without_hardware_require_hw_fails_alone_and_recovers_by_a_change() -> None:
    with RunningMesh() as mesh:
        async with async_client(mesh) as app, Viewer.watching(mesh, "cam0") as viewer:
            await app.start_stream("cam0", _SOURCE)
            await app.start_rendition("cam0", "hard", encoder="require-hw", always=True)
            failed = mesh.wait_for(
                lambda: (mesh.actual("renditions", "cam0", "hard") or {}).get("error"), 10, "an error"
            )
            assert failed["code"] == 503
            said = r"no hardware encoder for h264 works here: h264_nvenc: .*h264_qsv: .*h264_amf: "
            assert re.match(said, failed["message"])
            await viewer.until(len(viewer.pictures) + 15)
            await app.start_rendition("cam0", "hard", encoder="prefer-hw", always=True)
            running = mesh.wait_for(
                lambda: (mesh.actual("renditions", "cam0", "hard") or {}).get("encoder"), 10, "an encoder"
            )
            assert running == "libx264"


async def test_with_hardware_that_fails_each_policy_does_what_it_says() -> None:
    """The hardware here dies at its thirtieth picture and works again when it is opened afresh."""
    with RunningMesh(environment={"PYTHONPATH": str(_FAULTY)}) as mesh:
        async with async_client(mesh) as app, app.events(service="hw-encode") as events:
            await app.start_stream("cam0", _SOURCE)
            for policy in ("require-hw", "prefer-hw", "software"):
                await app.start_rendition("cam0", policy, encoder=policy, always=True, wait_s=10)
            async with asyncio.timeout(15):
                event = await anext(found async for found in events if found.event == "encoder-changed")
            assert (event.id, event.detail["to"]) == ("cam0--prefer-hw", "libx264")
            states = {}
            # `require-hw` has no other: it says so, and has its hardware again seconds later without being told to.
            mesh.wait_for(
                lambda: (
                    states.setdefault((mesh.actual("renditions", "cam0", "require-hw") or {})["state"], True)
                    and {"failed", "running"} <= set(states)
                ),
                20,
                "failed and running",
            )
            assert mesh.actual("renditions", "cam0", "require-hw")["encoder"] == "libx264_faulty"
            assert mesh.actual("renditions", "cam0", "software")["encoder"] == "libx264"
            assert not mesh.actual("renditions", "cam0", "software")["hardware"]
