"""CloudMix tasks whose sources cannot be had: each gets its answer, and the task beside them goes on as it was."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from volcengine.live.v20230101.live_service import LiveService

from tests.support.media_server import MediaServer, clip, media_server
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.peers import RtmpServer, free_port, rtmp_server

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(150)]

LOST_SECONDS = 5  # instead of a minute
PAGE = b"<!doctype html><html><body>" + b"<p>no such video</p>" * 100
SEEN_SECONDS = 30.0


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height), 1).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def web() -> Iterator[MediaServer]:
    with media_server() as server:
        late = clip("mp4")
        server.files = {
            "/clip.mp4": bunny().read_bytes(),
            "/page.mp4": PAGE,
            "/unfinished.mp4": late[: len(late) // 2],
            "/huge.png": png(10_000, 10_000),
            "/page.png": PAGE,
        }
        yield server


@pytest.fixture(scope="module")
def rtmp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtmpServer]:
    with rtmp_server(tmp_path_factory.mktemp("rtmp")) as server:
        yield server


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    settings = {"PUBLIC_ONLY": "false", "REQUESTS_PER_SECOND": "0", "LOST_SECONDS": str(LOST_SECONDS)}
    with RunningMesh(
        environment={f"FRAMEMESH_CLOUD_MIX_PROXY_{name}": value for name, value in settings.items()}
    ) as up:
        yield up


class Cloud:
    """The API's own client, and rules of small mixes."""

    def __init__(self, mesh: RunningMesh, web: MediaServer, rtmp: RtmpServer) -> None:
        self._mesh, self._web, self._rtmp = mesh, web, rtmp
        self._service = LiveService()
        self._service.set_ak("whoever")
        self._service.set_sk("is-here")
        self._service.set_host(mesh.ready["mixing"].split("/")[2])
        self._service.set_scheme("http")

    def rules(self, *paths: str, logos: tuple[str, ...] = (), outputs: int = 1) -> dict[str, Any]:
        urls = [path if "://" in path else self._web.url(path) for path in paths]
        places = range(1, len(urls) + 1)
        box = {"X": 0, "Y": 0, "W": 160, "H": 90}
        return {
            "InputSource": [
                {"ID": f"s{place}", "Layer": place, "Type": "pic" if url.endswith(".png") else "vod", "Url": url}
                for place, url in zip(places, urls, strict=True)
            ],
            "InputLayout": {
                "Scene": {"Width": 320, "Height": 180, "Layout": [{**box, "Layer": place} for place in places]},
                "Logo": [{"Layout": box, "Url": self._web.url(logo)} for logo in logos],
            },
            "Output": {
                "Url": [f"rtmp://127.0.0.1:{self._rtmp.port}/live/{paths[0][-8:]}-{n}" for n in range(outputs)],
                "Video": {"BitRate": 1_000_000, "FrameRate": 10, "GOP": 1, "Codec": "h264"},
                "Audio": {"BitRate": 128_000, "ChannelLayout": "mono", "SampleRate": 44_100},
            },
        }

    def create(self, name: str, rules: dict[str, Any]) -> str:
        return str(self._service.create_cloud_mix_task({"Name": name, "MixedRules": rules})["Result"]["Data"]["TaskID"])

    def update(self, task: str, rules: dict[str, Any]) -> None:
        self._service.update_cloud_mix_task({"TaskID": task, "MixedRules": rules})

    def delete(self, task: str) -> None:
        self._service.delete_cloud_mix_task({"TaskID": task})

    def detail(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = self._service.get_cloud_mix_task_detail({"TaskID": task})["Result"]["Data"]
        return found

    def until(self, task: str, **fields: Any) -> dict[str, Any]:
        def is_so() -> dict[str, Any] | None:
            detail = self.detail(task)
            return detail if all(detail[name] == value for name, value in fields.items()) else None

        found: dict[str, Any] = self._mesh.wait_for(is_so, SEEN_SECONDS, f"{fields} of {task}: {self.detail(task)}")
        return found


@pytest.fixture
def cloud(
    mesh: RunningMesh, web: MediaServer, rtmp: RtmpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cloud:
    for name in ("HTTP_PROXY", "http_proxy", "VOLC_ACCESSKEY", "VOLC_SECRETKEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Cloud(mesh, web, rtmp)


def test_each_gets_its_answer_and_the_others_go_on(mesh: RunningMesh, cloud: Cloud, rtmp: RtmpServer) -> None:
    fine = cloud.create("fine", cloud.rules("/clip.mp4"))
    cloud.until(fine, Status="runing", TaskErrMsg="")
    before = mesh.call("cloud-mix-proxy.get", mix=f"mix-{fine}")["actual"]
    epoch = mesh.call(f"capture.mix-{fine}.snapshot", format="jpg")["epoch"]

    # It is the task's alone: others would change or end what comes back at once.
    for verb, asked in (
        ("create", {"inputs": [{"input": "a", "source": "file://a.png"}]}),
        ("update", {"inputs": [{"input": "a", "source": "file://a.png"}]}),
        ("delete", {}),
    ):
        with pytest.raises(CallFailed, match="DeleteCloudMixTask") as refused:
            mesh.call(f"cloud-mix-proxy.{verb}", mix=f"mix-{fine}", **asked)
        assert refused.value.code == 409

    # What the API can tell by itself it says at once, and makes nothing.
    for name, rules, word in (
        ("nine sources", cloud.rules(*["/clip.mp4"] * 9), "InputSource"),
        ("five logos", cloud.rules("/clip.mp4", logos=("/huge.png",) * 5), "Logo"),
        ("nine outputs", cloud.rules("/clip.mp4", outputs=9), "Output.Url"),
        ("no source", {**cloud.rules("/clip.mp4"), "InputSource": []}, "InputSource"),
        (
            "layers",
            {**cloud.rules("/clip.mp4"), "InputSource": cloud.rules("/a.mp4", "/b.mp4")["InputSource"]},
            "Layout",
        ),
        ("a page", cloud.rules("/page.html"), r"InputSource\[0\].Url"),
    ):
        with pytest.raises(Exception, match=word):
            cloud.create(name, rules)

    # What is there only turns out when it is looked at.
    nobody = f"http://127.0.0.1:{free_port()}/clip.mp4"
    partly = cloud.create("partly", cloud.rules("/clip.mp4", "/page.mp4", nobody))
    alone = {
        "moov": cloud.create("unfinished", cloud.rules("/unfinished.mp4")),
        "refuse": cloud.create("unreachable", cloud.rules(nobody)),
    }
    never = {
        "10000x10000 pixels": cloud.create("huge", cloud.rules("/clip.mp4", "/huge.png")),
        "not a png": cloud.create("page", cloud.rules("/clip.mp4", logos=("/page.png",))),
        "404": cloud.create("no logo", cloud.rules("/clip.mp4", logos=("/nowhere.png",))),
    }
    told = cloud.until(partly, Status="runing", TaskErrSrcIDs=["s2", "s3"])
    assert "source s2: source" in told["TaskErrMsg"]
    assert "text/html" in told["TaskErrMsg"]
    assert "source s3: source" in told["TaskErrMsg"]
    for words, task in {**alone, **never}.items():
        ended = cloud.until(task, Status="done")
        assert words in ended["TaskErrMsg"], ended
    assert f"all inputs were lost for {LOST_SECONDS}s" in cloud.detail(alone["moov"])["TaskErrMsg"]
    assert cloud.detail(partly)["Status"] == "runing", "one source is enough to go on"
    cloud.delete(partly)

    # An update that cannot be shown leaves what is seen.
    cloud.update(fine, cloud.rules("/clip.mp4", logos=("/huge.png",)))
    failed = cloud.until(fine, LastOperationIndex=2, LastOperationErrCode=400)
    assert "pixels" in failed["LastOperationErrMsg"]
    assert (failed["Status"], failed["LastSuccessOperationIndex"]) == ("runing", 1)

    after = mesh.call("cloud-mix-proxy.get", mix=f"mix-{fine}")["actual"]
    assert (after["state"], after["restarts"], before["restarts"]) == ("running", 0, 0)
    assert mesh.call(f"capture.mix-{fine}.snapshot", format="jpg")["epoch"] == epoch
    clip_stream = next(one["stream"] for one in after["inputs"])
    assert mesh.actual("streams", clip_stream)["restarts"] == 0, "it has been looped meanwhile"
    recorded_bytes = rtmp.recorded_bytes
    mesh.wait_for(lambda: rtmp.recorded_bytes > recorded_bytes, 10, "it is pushed still")
    cloud.delete(fine)
    cloud.until(fine, Status="done")
    cloud.until(partly, Status="done")
    mesh.wait_for(lambda: mesh.status()["streams"] == [], 10, "nothing is left of any of them")
