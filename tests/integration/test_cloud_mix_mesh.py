"""A CloudMix task in a whole mesh: made by the API's own client, pushed to a real RTMP server, kept through kill -9."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from volcengine.live.v20230101.live_service import LiveService

from tests.support.cloud_mix import ROBOT
from tests.support.media_server import MediaServer, media_server
from tests.support.mesh import RunningMesh, bunny
from tests.support.mix_tasks import Receiver, receiver
from tests.support.peers import RtmpServer, probe, rtmp_server

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(170)]


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def web() -> Iterator[MediaServer]:
    with media_server() as server:
        server.files["/clip.mp4"] = bunny().read_bytes()
        for name, colour in (("red", (255, 0, 0, 255)), ("logo", (0, 255, 0, 128))):
            picture = io.BytesIO()
            Image.fromarray(np.full((64, 64, 4), colour, np.uint8)).save(picture, "png")
            server.files[f"/{name}"] = picture.getvalue()  # their addresses do not say what they are
        yield server


def rules(web: MediaServer, rtmp: RtmpServer, hook: Receiver, left: bool = True) -> dict[str, Any]:
    places = [{"X": 0, "Y": 0, "W": 320, "H": 180, "Layer": 2}, {"X": 320, "Y": 180, "W": 320, "H": 180, "Layer": 1}]
    if not left:
        places = [{**places[1], "Layer": 2}, {**places[0], "Layer": 1}]
    return {
        "InputSource": [
            {"ID": "clip", "Layer": 2, "Type": "vod", "Url": web.url("/clip.mp4")},
            {"ID": "still", "Layer": 1, "Type": "pic", "Url": web.url("/red")},
        ],
        "InputLayout": {
            "Scene": {"Width": 640, "Height": 360, "Layout": places},
            "Logo": [{"Layout": {"X": 600, "Y": 0, "W": 40, "H": 40}, "Url": web.url("/logo")}],
        },
        "Output": {
            "Url": [f"127.0.0.1:{rtmp.port}", f"rtmp://127.0.0.1:{rtmp.port}/live/key-of-mine"],
            "Video": {"BitRate": 1, "FrameRate": 25, "GOP": 1, "Codec": "h264"},
            "Audio": {"BitRate": 128000, "ChannelLayout": "mono", "SampleRate": 44100},
            "Callback": {"Url": hook.url},
        },
    }


def test_a_task_from_its_creation_to_its_end(
    tmp_path: Path, web: MediaServer, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "VOLC_ACCESSKEY", "VOLC_SECRETKEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = {"PUBLIC_ONLY": "false", "ACCESS_KEY": ROBOT[0], "SECRET_KEY": ROBOT[1], "REQUESTS_PER_SECOND": "0"}
    environment = {f"FRAMEMESH_CLOUD_MIX_PROXY_{name}": value for name, value in settings.items()}
    with rtmp_server(tmp_path) as rtmp, RunningMesh(environment=environment) as mesh:
        service = LiveService()
        service.set_ak(ROBOT[0])
        service.set_sk(ROBOT[1])
        service.set_host(mesh.ready["mixing"].split("/")[2])
        service.set_scheme("http")
        body = {"Name": "show", "MixedRules": rules(web, rtmp, hook)}
        task = service.create_cloud_mix_task(body)["Result"]["Data"]["TaskID"]

        def detail() -> dict[str, Any]:
            found: dict[str, Any] = service.get_cloud_mix_task_detail({"TaskID": task})["Result"]["Data"]
            return found

        def outputs() -> list[str]:
            return [entry["actual"]["state"] for entry in mesh.status()["outputs"] if entry["actual"]]

        mesh.wait_for(lambda: detail()["Status"] == "runing", 30, "the task runs")
        mesh.wait_for(lambda: outputs() == ["running", "running"], 30, "both outputs run")
        assert detail()["LastSuccessOperationIndex"] == 1
        with pytest.raises(Exception, match="in progress"):
            service.create_cloud_mix_task(body)
        changed = {"TaskID": task, "MixedRules": rules(web, rtmp, hook, left=False)}
        assert service.update_cloud_mix_task(changed)["Result"]["Data"]["OptID"] == 2
        mesh.wait_for(lambda: detail()["LastSuccessOperationIndex"] == 2, 20, "the update is seen")
        bytes_before = rtmp.recorded_bytes
        mesh.kill("cloud-mix-proxy")
        mesh.wait_for(lambda: rtmp.recorded_bytes > bytes_before + 200_000, 30, "the push goes on")
        mesh.wait_for(lambda: "cloud-mix-proxy" in mesh.pids(), 20, "it is started again")
        assert mesh.wait_for(lambda: _quietly(detail), 20, "it answers")["Status"] == "runing"
        assert mesh.call("cloud-mix-proxy.tasks")["tasks"][0]["record"]["task"] == task
        assert "key-of-mine" not in str(mesh.status()) + str(mesh.call("cloud-mix-proxy.tasks"))
        service.delete_cloud_mix_task({"TaskID": task})
        mesh.wait_for(lambda: detail()["Status"] == "done", 20, "it has ended")
        status = mesh.status()
        assert (status["streams"], status["outputs"]) == ([], [])
        mesh.wait_for(lambda: hook.details() and hook.details()[-1]["status"] == "done", 20, "the end is told")
        assert {"prepare", "runing", "prestop", "done"} <= {one["status"] for one in hook.details()}
        recordings = {path.name.partition("-")[0]: path for path in rtmp.recordings}
        assert {task, "key"} <= set(recordings)
        assert "key-of-mine" not in mesh.log.read_text()
        tracks = probe(recordings[task])
        assert (tracks["video"].codec, tracks["video"].width, tracks["audio"].codec) == ("h264", 640, "aac")
        assert sorted(tracks["video"].pts) == tracks["video"].pts
        with av.open(recordings[task]) as recorded:
            sound = recorded.streams.audio[0]
            assert (sound.sample_rate, sound.channels) == (44_100, 1)
            last = [picture.to_ndarray(format="rgb24") for picture in recorded.decode(video=0)][-1]
        assert last.shape == (360, 640, 3)
        assert np.allclose(last[90, 160], (255, 0, 0), atol=24)  # where the update has put the still picture
        assert np.allclose(last[20, 620], (0, 128, 0), atol=24)  # the logo, half seen through, over the background


def _quietly(detail: Any) -> Any:
    try:
        return detail()
    except Exception:  # what requests raises of a port where nobody listens yet
        return None
