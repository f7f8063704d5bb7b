"""The LAS API as its users meet it: a running extractor, real HTTP, the two requests of the document."""

import asyncio
import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.extractors import Extractors, make_clip
from tests.support.pace import Patience
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

ROBOT, STUDIO, LATER, MANY, HOSTILE = (
    "key-of-the-robot-0123456789",
    "key-of-the-studio-012345678",
    "key-that-comes-later-01234",
    "key-of-many-requests-0123",
    "key-of-hostile-bodies-012",
)
BOOKS = "key-of-whoever-counts-0123"
KEYS = f"robot: {ROBOT}\nstudio: [{STUDIO}]\nmany: {MANY}\nhostile: {HOSTILE}\nbooks: {BOOKS}\n"
OPERATOR = {"operator_id": "las_video_frame_extract", "operator_version": "v1"}
DATA = {
    "video_url": "tos://my-bucket/videos/sample.mp4",
    "output_path_template": "tos://my-bucket/frames/frame_{index}.{autoext}",
    "fps": 1.0,
    "max_frames": 200,
    "image_format": "jpg",
    "resize_short_side": 72,
}
JPEG = b"\xff\xd8\xff"


@dataclass
class Api:
    url: str
    keys: Path
    extractors: Extractors

    @property
    def pid(self) -> int:
        return self.extractors.processes["one"].pid

    def start(self) -> None:
        """The service, listening."""
        self.extractors.start("one", api_keys_file=self.keys)
        patience = Patience(20)
        while subprocess.run(["curl", "-sf", f"{self.url}/healthz"], capture_output=True).returncode:
            assert not patience.is_over(), self.extractors.log.read_text()
            time.sleep(0.05)

    def curl(self, path: str, body: object, key: str = ROBOT) -> tuple[int, dict[str, Any]]:
        """As the document has it."""
        done = subprocess.run(
            [
                *("curl", "--silent", "--location", f"{self.url}{path}", "--header", "Content-Type: application/json"),
                *("--header", f"Authorization: Bearer {key}", "--data", json.dumps(body)),
                *("--write-out", "\n%{http_code}"),
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        text, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(text)

    def finished(self, task_id: str, key: str = ROBOT) -> tuple[int, dict[str, Any]]:
        patience = Patience(20)
        while not patience.is_over():
            status, answer = self.curl("/api/v1/poll", {**OPERATOR, "task_id": task_id}, key)
            if answer["metadata"]["task_status"] not in ("PENDING", "RUNNING"):
                return status, answer
            time.sleep(0.1)
        raise AssertionError(self.extractors.log.read_text()[-3000:])


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    port = free_port()
    extractors = Extractors(http_port=port, allow_private=True, attempts=1)
    keys = extractors.folder / "keys"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    extractors.nats.start()
    try:
        bucket = extractors.folder / "data" / "tos" / "my-bucket"
        (bucket / "videos").mkdir(parents=True)
        make_clip(bucket / "videos" / "sample.mp4", 3.0)
        (bucket / "videos" / "none.mp4").write_bytes(b"this is no video " * 100)
        found = Api(f"http://127.0.0.1:{port}", keys, extractors)
        found.start()
        yield found
    finally:
        for node in tuple(extractors.processes):
            extractors.kill(node, 15)
        extractors.nats.kill()
        shutil.rmtree(extractors.nats.folder, ignore_errors=True)
        shutil.rmtree(extractors.folder, ignore_errors=True)


def session(api: Api, key: str = ROBOT) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(api.url, headers={"Authorization": f"Bearer {key}"})


def test_the_two_requests_of_the_document(api: Api) -> None:
    status, answer = api.curl("/api/v1/submit", {**OPERATOR, "data": DATA})
    metadata = answer["metadata"]
    assert status == 200, answer
    assert list(answer) == ["metadata"]
    assert (metadata["task_status"], metadata["business_code"], metadata["error_msg"]) == ("PENDING", "0", "")
    assert len(metadata["request_id"]) >= 20
    task_id = metadata["task_id"]
    status, answer = api.finished(task_id)
    assert status == 200, answer
    assert answer["metadata"]["task_id"] == task_id
    data = answer["data"]
    assert (data["video_duration"], data["video_resolution"], data["frame_count"]) == (3.0, "160x90", 3)
    assert [frame["timestamp_seconds"] for frame in data["frames"]] == [0.5, 1.5, 2.5]
    assert [frame["tos_path"] for frame in data["frames"]] == [
        f"tos://my-bucket/frames/frame_00{index}.jpg" for index in range(3)
    ]
    assert [(frame["index"], frame["width"], frame["height"]) for frame in data["frames"]] == [
        (index, 128, 72) for index in range(3)
    ]
    for frame in data["frames"]:
        picture = subprocess.run(["curl", "-s", frame["http_url"]], capture_output=True, timeout=10).stdout
        assert picture.startswith(JPEG)
        folder = api.extractors.folder / "data" / "tos" / "my-bucket"
        assert picture == (folder / frame["tos_path"].removeprefix("tos://my-bucket/")).read_bytes()
    status, answer = api.curl("/api/v1/poll", {**OPERATOR, "task_id": task_id}, STUDIO)
    assert (status, answer["metadata"]["business_code"]) == (400, "Task.NotFound")
    assert answer["metadata"]["error_msg"] == "Task not found: there is none of this id, of this key"


def test_the_client_of_the_docs(api: Api) -> None:
    page = (Path(__file__).parents[2] / "docs" / "las-api.md").read_text()
    program = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "/api/v1/" in block)
    for video, said in (
        ("sample", "0.5 tos://my-bucket/frames/frame_000.jpg"),
        ("none", "Video.Invalid: invalid video"),
    ):
        environment = {
            "LAS_BASE_URL": api.url,
            "LAS_API_KEY": ROBOT,
            "VIDEO_URL": f"tos://my-bucket/videos/{video}.mp4",
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30
        )
        assert (done.stdout + done.stderr).startswith(said)


def test_a_task_and_its_links_outlive_the_service(api: Api) -> None:
    _, answer = api.curl("/api/v1/submit", {**OPERATOR, "data": {**DATA, "max_frames": 1}})
    task_id = answer["metadata"]["task_id"]
    _, answer = api.finished(task_id)
    api.extractors.kill("one")
    api.start()
    status, again = api.finished(task_id)
    assert (status, again["data"]["frame_count"]) == (200, 1)
    picture = subprocess.run(["curl", "-s", answer["data"]["frames"][0]["http_url"]], capture_output=True, timeout=10)
    assert picture.stdout.startswith(JPEG)


async def test_links_to_pictures(api: Api) -> None:
    _, answer = api.curl("/api/v1/submit", {**OPERATOR, "data": {**DATA, "image_format": "png", "max_frames": 1}})
    _, answer = await asyncio.to_thread(api.finished, answer["metadata"]["task_id"])
    url = answer["data"]["frames"][0]["http_url"]
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            whole, tag = await response.read(), response.headers["ETag"]
            assert response.status == 200
            assert response.content_type == "image/png"
            assert response.headers["Content-Disposition"] == "inline; filename*=UTF-8''frame_000.png"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        async with http.get(url, headers={"Range": "bytes=1-3"}) as response:
            assert (response.status, await response.read()) == (206, b"PNG")
            assert response.headers["Content-Range"] == f"bytes 1-3/{len(whole)}"
        async with http.get(url, headers={"Range": "bytes=1-3", "If-Range": '"other"'}) as response:
            assert (response.status, await response.read()) == (200, whole)
        async with http.get(url, headers={"Range": f"bytes={len(whole)}-"}) as response:
            assert response.status == 416
        async with http.get(url, headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
        async with http.head(url) as response:
            assert (response.status, response.content_length) == (200, len(whole))
        for wrong in (url[:-1] + ("A" if url[-1] != "A" else "B"), url[:-5], url.replace("/frames/", "/frames/x")):
            async with http.get(wrong) as response:
                assert (response.status, (await response.json())["metadata"]["business_code"]) == (403, "Link.Invalid")
        (api.extractors.folder / "data" / "tos" / "my-bucket" / "frames" / "frame_000.png").unlink()
        async with http.get(url) as response:
            assert response.status == 404
            assert str(api.extractors.folder) not in await response.text()


def test_a_task_that_failed_is_answered_with_400(api: Api) -> None:
    status, answer = api.curl(
        "/api/v1/submit", {**OPERATOR, "data": {**DATA, "video_url": "http://127.0.0.1:1/refused.mp4"}}
    )
    assert status == 200
    status, answer = api.finished(answer["metadata"]["task_id"])
    assert (status, answer["metadata"]["task_status"]) == (400, "FAILED")
    assert answer["metadata"]["business_code"] == "Video.DownloadFailed"
    assert "data" not in answer


@pytest.mark.parametrize(
    ("method", "path", "key", "status", "code"),
    [
        ("POST", "/api/v1/submit", None, 401, "Authorization.Missing"),
        ("POST", "/api/v1/poll", None, 401, "Authorization.Missing"),
        ("POST", "/api/v1/submit", "no-key-of-anybody-at-all", 401, "ApiKey.InValid"),
        ("GET", "/api/v1/submit", ROBOT, 405, "Method.NotAllowed"),
        ("POST", "/api/v1/cancel", ROBOT, 404, "Path.NotFound"),
        ("POST", "/api/v1/submit", ROBOT, 400, "Parameter.Invalid"),
        ("GET", "/%00/%ff/..%2f..%2fetc/passwd", None, 404, "Path.NotFound"),
    ],
)
async def test_the_door(api: Api, method: str, path: str, key: str | None, status: int, code: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(api.url) as http, http.request(method, path, headers=headers) as response:
        metadata = (await response.json())["metadata"]
        assert (response.status, metadata["business_code"], metadata["task_status"]) == (status, code, "FAILED")
        assert response.headers["X-Request-Id"] == metadata["request_id"]


async def test_what_is_here(api: Api) -> None:
    async with aiohttp.ClientSession(api.url) as http:
        async with http.get("/") as response:
            assert (await response.json())["operator_id"] == "las_video_frame_extract"
        async with http.get("/openapi.json") as response:
            assert "/api/v1/submit" in (await response.json())["paths"]


async def test_usage_is_the_key_s_own(api: Api) -> None:
    _, answer = api.curl("/api/v1/submit", {**OPERATOR, "data": {**DATA, "max_frames": 2}}, BOOKS)
    assert api.finished(answer["metadata"]["task_id"], BOOKS)[0] == 200

    async def usage(http: aiohttp.ClientSession, query: str = "") -> tuple[int, Any]:
        async with http.get(f"/api/v1/usage{query}") as response:
            return response.status, await response.json()

    async with session(api, BOOKS) as http:
        patience = Patience(10)
        while (had := await usage(http))[1]["pictures"] == 0 and not patience.is_over():
            await asyncio.sleep(0.05)  # the books are written behind the answer
        today = time.strftime("%Y%m%d", time.gmtime())
        assert had == (
            200,
            {"owner": "books", "days": [{"day": today, "tasks": 1, "pictures": 2}], "tasks": 1, "pictures": 2},
        )
        assert (await usage(http, "?since=20200101&until=20200131"))[1] == {
            "owner": "books",
            "days": [],
            "tasks": 0,
            "pictures": 0,
        }
        for query, named in (
            ("?since=yesterday", "since 'yesterday': write a day as 20260501"),
            ("?owner=robot", "owner 'robot': there are: since, until"),
            ("?since=20260501&since=20260502", "since '20260501': give it once"),
        ):
            status, refused = await usage(http, query)
            assert (status, refused["metadata"]["business_code"]) == (400, "Parameter.Invalid")
            assert named in refused["metadata"]["error_msg"]
    async with session(api, HOSTILE) as http:
        assert (await usage(http))[1]["owner"] == "hostile"
    async with aiohttp.ClientSession(api.url) as http:
        assert (await usage(http))[0] == 401


async def test_a_task_is_submitted_once_with_one_idempotency_key(api: Api) -> None:
    async with session(api) as http:
        ids = set()
        for _ in range(2):
            headers = {"Idempotency-Key": "mine"}
            async with http.post("/api/v1/submit", json={**OPERATOR, "data": DATA}, headers=headers) as response:
                ids.add((await response.json())["metadata"]["task_id"])
        assert len(ids) == 1


async def test_ten_at_once_and_slow_bodies(api: Api) -> None:
    """Ten bodies that do not come hold their key's ten places, and nobody else's."""
    gate = asyncio.Event()

    async def slow() -> Any:
        yield b'{"operator_id":'
        await gate.wait()
        yield b'"x"}'

    async with session(api) as http, session(api, STUDIO) as other:

        async def post() -> int:
            async with http.post("/api/v1/poll", data=slow()) as response:
                return response.status

        tasks = [asyncio.create_task(post()) for _ in range(10)]
        patience = Patience(5)
        status = 0
        while status != 429 and not patience.is_over():
            async with http.post("/api/v1/poll", json={**OPERATOR, "task_id": "x"}) as response:
                status, headers = response.status, response.headers
        assert status == 429
        assert headers["Retry-After"] == "1"
        async with other.post("/api/v1/poll", json={**OPERATOR, "task_id": "x"}) as response:
            assert response.status == 400
        gate.set()
        assert await asyncio.gather(*tasks) == [400] * 10
        async with http.post("/api/v1/poll", json={**OPERATOR, "task_id": "x"}) as response:
            assert response.status == 400


async def test_six_hundred_a_minute(api: Api) -> None:
    async with session(api, MANY) as http:
        counted: dict[int, int] = {}
        limit = asyncio.Semaphore(8)

        async def post() -> None:
            async with limit, http.post("/api/v1/poll", data=b"{}") as response:
                counted[response.status] = counted.get(response.status, 0) + 1

        await asyncio.gather(*(post() for _ in range(620)))
        assert counted == {400: 600, 429: 20}


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def test_hostile_bodies(api: Api) -> None:
    random_ = random.Random(3)
    template = DATA["output_path_template"]
    bodies: list[bytes] = [
        b"[" * 60_000,
        b'{"data":' * 8_000,
        b'{"operator_id":"' + b"a" * 60_000 + b'"}',
        json.dumps({**OPERATOR, "data": {**DATA, "output_path_template": "tos://b-1/{index:0999999999d}"}}).encode(),
        json.dumps({**OPERATOR, "data": {**DATA, "output_path_template": "tos://b-1/{index.__class__}"}}).encode(),
        json.dumps({**OPERATOR, "data": {**DATA, "fps": 1}}).replace('"fps": 1', '"fps": 1e400').encode(),
        json.dumps({**OPERATOR, "data": {**DATA, "fps": 1}}).replace('"fps": 1', '"fps": NaN').encode(),
        json.dumps({**OPERATOR, "data": {**DATA, "max_frames": 10**4000}}).encode(),
        json.dumps({**OPERATOR, "data": {**DATA, "output_path_template": "\ud800{index}"}}).encode(),
    ]
    while len(bodies) < 250:
        data: dict[str, Any] = dict(DATA)
        data[random_.choice(list(DATA))] = random_.choice(
            [[], {}, [[[[]]]], -1, 2**70, 1e308, True, "", "\x00", "é" * 500, {"a": {"b": None}}, template + "{x}"]
        )
        data["video_url"] = random_.choice(["", "file:///etc/passwd", 5, data["video_url"]])
        data["image_format"] = "gif"
        bodies.append(json.dumps({**OPERATOR, "data": data}).encode())
    while len(bodies) < 400:
        text = bytearray(
            json.dumps({**OPERATOR, "data": {**DATA, "fps": 0, "max_frames": 0, "image_format": "gif"}}).encode()
        )
        for _ in range(5):
            text[random_.randrange(len(text))] = random_.randrange(256)
        bodies.append(bytes(text))
    async with session(api, HOSTILE) as http:
        before = resident_bytes(api.pid)
        for body in bodies:
            async with http.post("/api/v1/submit", data=body) as response:
                assert response.status == 400, (body[:200], await response.text())
                assert (await response.json())["metadata"]["business_code"] in {
                    "Parameter.Invalid",
                    "Parameter.Missing",
                    "Url.Invalid",
                }, body[:200]
        for _ in range(20):
            async with http.post("/api/v1/submit", data=b'{"a":"' + b"a" * (10 << 20) + b'"}') as response:
                assert response.status == 413
        assert resident_bytes(api.pid) - before < 32 << 20
        async with http.post("/api/v1/submit", data=b"x", headers={"Content-Encoding": "gzip"}) as response:
            assert response.status == 415
    assert "Traceback" not in api.extractors.log.read_text()


async def test_keys_that_change_while_it_runs(api: Api) -> None:
    async def status(key: str) -> int:
        async with session(api, key) as http, http.post("/api/v1/poll", data=b"{}") as response:
            return response.status

    async def becomes(key: str, wanted: int) -> None:
        patience = Patience(10)
        while await status(key) != wanted:
            assert not patience.is_over()
            await asyncio.sleep(0.1)

    assert (await status(LATER), await status(STUDIO)) == (401, 400)
    api.keys.write_text("robot: short\n")
    patience = Patience(10)
    while "stays as it was" not in api.extractors.log.read_text():
        assert not patience.is_over()
        await asyncio.sleep(0.1)
    assert (await status(LATER), await status(STUDIO)) == (401, 400)
    api.keys.write_text(f"robot: {ROBOT}\nlater: {LATER}\n")
    await becomes(LATER, 400)
    assert (await status(STUDIO), await status(ROBOT)) == (401, 400)
    log = api.extractors.log.read_text()
    assert not any(key in log for key in (ROBOT, STUDIO, LATER))
