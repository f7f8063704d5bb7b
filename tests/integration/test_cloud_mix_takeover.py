"""A CloudMix task on two nodes: one is gone at once with all it ran, and the other goes on with the push."""

import io
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from volcengine.live.v20230101.live_service import LiveService

from tests.support.cloud_mix import ROBOT
from tests.support.media_server import media_server
from tests.support.mesh import RunningMesh
from tests.support.nats import NatsServer
from tests.support.peers import rtmp_server

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(170)]


def gone(mesh: RunningMesh) -> None:
    """As by a cable that is pulled: nobody there says goodbye."""
    assert mesh.process is not None
    pids = mesh.pids()
    mesh.process.kill()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    mesh.process.wait()


def test_the_node_of_a_task_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "VOLC_ACCESSKEY", "VOLC_SECRETKEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = {"PUBLIC_ONLY": "false", "ACCESS_KEY": ROBOT[0], "SECRET_KEY": ROBOT[1], "REQUESTS_PER_SECOND": "0"}
    environment = {f"FRAMEMESH_CLOUD_MIX_PROXY_{name}": value for name, value in settings.items()}
    with NatsServer() as nats, media_server() as web, rtmp_server(tmp_path) as rtmp:
        picture = io.BytesIO()
        Image.fromarray(np.full((64, 64, 3), (255, 0, 0), np.uint8)).save(picture, "png")
        web.files["/red.png"] = picture.getvalue()
        rules = {
            "InputSource": [{"ID": "still", "Layer": 1, "Type": "pic", "Url": web.url("/red.png")}],
            "InputLayout": {
                "Scene": {"Width": 320, "Height": 180, "Layout": [{"X": 0, "Y": 0, "W": 320, "H": 180, "Layer": 1}]}
            },
            "Output": {
                "Url": [f"127.0.0.1:{rtmp.port}"],
                "Video": {"BitRate": 1, "FrameRate": 10, "GOP": 1, "Codec": "h264"},
                "Audio": {"BitRate": 128000, "ChannelLayout": "mono", "SampleRate": 44100},
            },
        }
        with (
            RunningMesh("--nats", nats.url, environment={**environment, "FRAMEMESH_NODE": "edge1"}) as one,
            RunningMesh("--nats", nats.url, environment={**environment, "FRAMEMESH_NODE": "edge2"}) as other,
        ):
            service = LiveService()
            service.set_ak(ROBOT[0])
            service.set_sk(ROBOT[1])
            service.set_scheme("http")
            service.set_host(one.ready["mixing"].split("/")[2])
            task = service.create_cloud_mix_task({"Name": "show", "MixedRules": rules})["Result"]["Data"]["TaskID"]
            one.wait_for(lambda: rtmp.recorded_bytes > 10_000, 30, "it is pushed")

            def record(mesh: RunningMesh) -> dict[str, Any]:
                found: dict[str, Any] = mesh.call("cloud-mix-proxy.tasks", live=False)["tasks"][0]["record"]
                return found

            first, stays = (one, other) if record(one)["node"] == "edge1" else (other, one)
            gone(first)
            bytes_before = rtmp.recorded_bytes
            stays.wait_for(lambda: rtmp.recorded_bytes > bytes_before + 10_000, 40, "the other node pushes")
            now = record(stays)
            assert (now["task"], now["status"], now["node"]) == (task, "runing", stays.environment["FRAMEMESH_NODE"])
            status = stays.status()
            nodes = {entry["spec"]["node"] for entry in (*status["streams"], *status["renditions"], *status["outputs"])}
            assert nodes == {stays.environment["FRAMEMESH_NODE"]}
            service.set_host(stays.ready["mixing"].split("/")[2])
            service.delete_cloud_mix_task({"TaskID": task})
            stays.wait_for(lambda: record(stays)["status"] == "done", 30, "it has ended")
            status = stays.status()
            assert (status["streams"], status["outputs"]) == ([], [])
        assert all(task in path.name for path in rtmp.recordings)
