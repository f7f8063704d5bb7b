"""The LAS API's keys, limits, links and answers."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, get_args

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from schemas.errors import BadRequest, MeshError, NotFound, TooMany, Unavailable
from schemas.extraction import (
    ExtractedFrame,
    FailureKind,
    Job,
    JobReply,
    JobState,
    PollJob,
    SubmitJob,
    Submitted,
    VideoFacts,
)
from services.frame_extractor.las.admission import LOCAL_OWNER, Admission
from services.frame_extractor.las.answers import check_alive, polled
from services.frame_extractor.las.door import build_app
from services.frame_extractor.las.exchange import Exchange
from services.frame_extractor.las.failures import OF_KIND, Refused, refusal_of
from services.frame_extractor.las.keys import ApiKeys, read_api_keys
from services.frame_extractor.las.links import Links, link_key
from services.frame_extractor.las.pictures import Pictures
from services.frame_extractor.las.tasks import TaskRoutes
from services.frame_extractor.storage.errors import StorageError
from shared.door.clients import Clients

pytestmark = pytest.mark.unit

KEY = "4f9c2d71-8a53-4f60-b1ce-2d5c0c1f7a10"


def keys(folder: Path, text: str, mode: int = 0o600) -> ApiKeys:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return read_api_keys(path)


def test_keys_of_a_file(tmp_path: Path) -> None:
    found = keys(tmp_path, f"# keys\nrobot: {KEY}\nstudio: [12345678901234567890, '0x1234567890abcdef']\n")
    assert found.find(KEY) == "robot"
    assert found.find("12345678901234567890") == found.find("0x1234567890abcdef") == "studio"
    for wrong in ("", KEY[:-1], KEY + "0", KEY.upper(), "robot", "\udcff" * 20):
        assert found.find(wrong) is None
    assert keys(tmp_path, "# none yet\n").find(KEY) is None


@pytest.mark.parametrize(
    "text",
    [
        "robot: short",
        f"robot: {KEY}\nrobot: {KEY}2",
        f"robot: {KEY}\nother: {KEY}",
        f"mesh: {KEY}",
        f"{KEY}X: robot",
        f"robot: {{a: {KEY}}}",
        f"- {KEY}",
        "robot: 'a key with spaces in it'",
        f"robot: [{KEY}",
        "robot: &a [*a, *a]",
        "[" * 500,
        "".join(f"name-{number}: {KEY}{number}\n" for number in range(257)),
    ],
)
def test_no_keys_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadRequest, match="API keys file") as caught:
        keys(tmp_path, text)
    assert KEY not in caught.value.message


def test_a_keys_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="chmod 600"):
        keys(tmp_path, f"robot: {KEY}", 0o644)
    with pytest.raises(NotFound):
        read_api_keys(tmp_path / "none")


def admission(**limits: int) -> Admission:
    return Admission(ApiKeys(((hashlib.sha256(KEY.encode()).digest(), "robot"),)), Clients(), **limits)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "Authorization.Missing"),
        ("", "Authorization.Missing"),
        ("Bearer", "Authorization.Missing"),
        ("Bearer  ", "Authorization.Missing"),
        (f"Basic {KEY}", "ApiKey.InValid"),
        (KEY, "ApiKey.InValid"),
        (f"Bearer {KEY}0", "ApiKey.InValid"),
        (f"Bearer {KEY} {KEY}", "ApiKey.InValid"),
    ],
)
def test_who_has_no_key(header: str | None, code: str) -> None:
    request = make_mocked_request("POST", "/", {} if header is None else {"Authorization": header})
    with pytest.raises(Refused) as caught:
        admission().owner(request)
    assert (caught.value.failure.http, caught.value.failure.business_code) == (401, code)


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer   {KEY} "])
def test_who_has_one(header: str) -> None:
    assert admission().owner(make_mocked_request("POST", "/", {"Authorization": header})) == "robot"


def test_without_keys_only_names_of_this_machine_are_answered() -> None:
    door = Admission(None, Clients())
    for host in ("localhost", "127.0.0.1:8891", "[::1]:8891"):
        request = make_mocked_request("POST", "/", {"Authorization": "Bearer any", "Host": host})
        assert door.owner(request) == LOCAL_OWNER
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8891", "[[", ""):
        with pytest.raises(Refused, match="api key"):
            door.owner(make_mocked_request("POST", "/", {"Authorization": "Bearer any", "Host": host}))


def test_so_many_a_minute_and_so_many_at_once() -> None:
    door = admission(per_minute=600, parallel=10)
    for number in range(600):
        with door.one("robot", number / 100):
            pass
    with pytest.raises(Refused) as caught, door.one("robot", 6.0):
        pass
    assert (caught.value.failure.http, caught.value.retry_after_s) == (429, 54)
    with door.one("studio", 6.0):
        pass
    with door.one("robot", 60.0):  # the first one is a minute ago
        pass
    running = [door.one("studio", 100.0) for _ in range(10)]
    for one in running:
        one.__enter__()
    with pytest.raises(Refused, match="10 requests"), door.one("studio", 100.0):
        pass
    running.pop().__exit__(None, None, None)
    with door.one("studio", 100.0):
        pass


def test_wrong_keys_are_not_tried_without_end() -> None:
    door = admission()
    codes = []
    for number in range(150):
        with pytest.raises(Refused) as caught:
            door.owner(make_mocked_request("POST", "/", {"Authorization": f"Bearer guess-number-{number}"}), 0.0)
        codes.append(caught.value.failure.business_code)
    assert codes == ["ApiKey.InValid"] * 100 + ["RateLimit.Exceeded"] * 50


def test_links_end_and_cannot_be_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = Links(link_key(tmp_path / "deep" / "link.key"))
    token = links.token("tos://my-bucket/視/frame 0.jpg", 60)
    path, left_s = links.path(token)
    assert path == "tos://my-bucket/視/frame 0.jpg"
    assert 50 < left_s <= 60
    said, _, mark = token.partition(".")
    other = links.token("tos://my-bucket/other.jpg", 60).partition(".")[0]
    for wrong in (
        "",
        ".",
        said,
        f"{other}.{mark}",
        f"{said}.{mark[:-1]}",
        f"{said}=.{mark}",
        f"{said}.{mark}A",
        "é.é",
        "a" * 9000,
    ):
        with pytest.raises(Refused, match="invalid or has ended"):
            links.path(wrong)
    with pytest.raises(Refused):
        Links(b"another key" * 4).path(token)
    later_s = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later_s)
    with pytest.raises(Refused, match="poll the task again"):
        links.path(token)


def test_the_link_key_is_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "link.key"
    assert link_key(path) == link_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["link.key"]
    path.chmod(0o644)
    with pytest.raises(BadRequest, match="chmod 600"):
        link_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(BadRequest, match="32 bytes"):
        link_key(path)


def job(state: JobState, failure: FailureKind = "", message: str = "") -> Job:
    return Job(
        id="task-20260420120000-abc123",
        state=state,
        owner="local",
        video="tos://my-bucket/a.mp4",
        to="tos://my-bucket/{index}.jpg",
        submitted_ns=time.time_ns(),
        facts=VideoFacts(duration_s=11.23449, width=1920, height=1080),
        failure=failure,
        message=message,
    )


FRAME = ExtractedFrame(
    index=0, timestamp_s=0.5000001, pts_s=0.48, width=720, height=405, path="tos://my-bucket/frames/frame_000.jpg"
)


def test_a_completed_task_is_answered_as_in_the_document() -> None:
    status, answer = polled(job("completed"), [FRAME], lambda path: f"https://example.com/{path[-13:]}", "r1")
    assert status == 200
    assert msgspec.json.encode(answer).decode() == (
        '{"metadata":{"task_id":"task-20260420120000-abc123","task_status":"COMPLETED","business_code":"0",'
        '"error_msg":"","request_id":"r1"},"data":{"video_duration":11.234,"video_resolution":"1920x1080",'
        '"frame_count":1,"frames":[{"index":0,"timestamp_seconds":0.5,"width":720,"height":405,'
        '"http_url":"https://example.com/frame_000.jpg","tos_path":"tos://my-bucket/frames/frame_000.jpg"}]}}'
    )


class Shelf:
    """Tasks whose list of pictures comes in parts, as over the bus; picture 1 could not be decoded."""

    def __init__(self, count: int, part: int) -> None:
        self.frames = tuple(msgspec.structs.replace(FRAME, index=index + (index > 0)) for index in range(count))
        self.part = part

    async def submit(self, request: SubmitJob) -> Submitted:
        raise AssertionError(request)

    async def poll(self, request: PollJob) -> JobReply:
        end = request.first + self.part
        return JobReply(job=job("completed"), frames=self.frames[request.first : end], more=end < len(self.frames))


class Folder:
    """Pictures of an object store, and one that has none."""

    def link(self, path: str, seconds: float) -> str | None:
        return f"https://store.example/{path.removeprefix('tos://')}?X-Expires={seconds:.0f}"

    def open_picture(self, path: str) -> BinaryIO:
        raise StorageError("storage", "/secret/folder: not there")


async def test_a_long_list_of_pictures_is_whole() -> None:
    clients, exchange = Clients(), Exchange()
    pictures = Pictures(Folder(), Links(b"k" * 32), 60, clients)
    app = build_app(exchange, (TaskRoutes(Shelf(5000, 2000), Admission(None, clients), pictures), pictures))
    async with TestClient(TestServer(app)) as http:
        body = {"operator_id": "las_video_frame_extract", "operator_version": "v1", "task_id": job("pending").id}
        headers = {"Authorization": "Bearer any"}
        async with http.post("/api/v1/poll", json=body, headers=headers) as response:
            data = (await response.json())["data"]
        assert data["frame_count"] == 5000
        assert [frame["index"] for frame in data["frames"]] == [0, *range(2, 5001)]
        assert data["frames"][7]["http_url"] == "https://store.example/my-bucket/frames/frame_000.jpg?X-Expires=60"
        async with http.get(f"/frames/{Links(b'k' * 32).token(FRAME.path, 60)}") as response:
            assert response.status == 404
            assert "secret" not in await response.text()


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    clients = Clients()
    pictures = Pictures(Folder(), Links(b"k" * 32), 60, clients)
    app = build_app(Exchange(), (TaskRoutes(Shelf(1, 1), Admission(None, clients), pictures, body_seconds=0.1),))

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with TestClient(TestServer(app)) as http:
        headers = {"Authorization": "Bearer any"}
        async with http.post("/api/v1/poll", data=never(), headers=headers) as response:
            assert (response.status, (await response.json())["metadata"]["business_code"]) == (408, "Request.Timeout")


@pytest.mark.parametrize(("state", "shown"), [("pending", "PENDING"), ("running", "RUNNING")])
def test_a_task_that_is_not_done_has_no_data(state: JobState, shown: str) -> None:
    status, answer = polled(job(state), [], str, "r1")
    assert status == 200
    assert msgspec.to_builtins(answer) == {
        "metadata": {
            "task_id": "task-20260420120000-abc123",
            "task_status": shown,
            "business_code": "0",
            "error_msg": "",
            "request_id": "r1",
        }
    }


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_every_failure_has_its_row(kind: FailureKind) -> None:
    status, answer = polled(job("failed", kind, "the moov atom is missing"), [], str, "r1")
    row, metadata = OF_KIND[kind], answer.metadata
    assert (status, metadata.business_code) == (row.http, row.business_code)
    assert metadata.task_status == ("TIMEOUT" if kind == "timeout" else "FAILED")
    assert metadata.error_msg == row.message + ("" if kind == "internal" else ": the moov atom is missing")
    assert answer.data is msgspec.UNSET


def test_a_canceled_task_has_failed() -> None:
    status, answer = polled(job("canceled"), [], str, "r1")
    assert (status, answer.metadata.task_status) == (400, "FAILED")
    assert "canceled" in answer.metadata.error_msg


def test_tasks_live_for_three_days() -> None:
    days_ns = 86_400 * 10**9
    check_alive(msgspec.structs.replace(job("completed"), submitted_ns=time.time_ns() - 2 * days_ns))
    with pytest.raises(Refused, match="Task not found"):
        check_alive(msgspec.structs.replace(job("completed"), submitted_ns=time.time_ns() - 3 * days_ns - 1))


@pytest.mark.parametrize(
    ("error", "http", "text"),
    [
        (BadRequest("to: no"), 400, "invalid parameter: to: no"),
        (TooMany("the queue is full"), 429, "Too many requests: the queue is full"),
        (Unavailable("nats://secret:4222"), 500, "Internal server error"),
        (MeshError("odd"), 500, "Internal server error"),
    ],
)
def test_errors_of_the_mesh(error: MeshError, http: int, text: str) -> None:
    refusal = refusal_of(error)
    assert (refusal.failure.http, refusal.text) == (http, text)
