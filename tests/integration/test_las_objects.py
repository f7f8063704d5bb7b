"""The LAS API with its pictures in an S3 server: submitted, polled, and read by its links until these end."""

import contextlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.extractors import Extractors, make_clip
from tests.support.object_store import MoodyFront, S3Server, free_port, moody_front, s3_server
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

OPERATOR = {"operator_id": "las_video_frame_extract", "operator_version": "v1"}
ACCESS, SECRET = "the-access-key-of-tos", "hush-hush-secret-of-tos"
LINK_SECONDS = 3


class Api:
    """An extractor that knows the bucket by the names that TOS users set."""

    def __init__(self, server: S3Server, front: MoodyFront, extractors: Extractors, port: int, metrics: str) -> None:
        self.server, self.front, self.extractors = server, front, extractors
        self._url, self._metrics = f"http://127.0.0.1:{port}/api/v1", metrics

    def ask(self, verb: str, **body: Any) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer anything-of-this-machine"}
        request = urllib.request.Request(f"{self._url}/{verb}", json.dumps({**OPERATOR, **body}).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def done(self, **data: Any) -> tuple[int, Any]:
        asked = {"video_url": "tos://lake/in.mp4", "output_path_template": "tos://lake/out/frame_{index}.{autoext}"}
        _, answer = self.ask("submit", data={**asked, **data})
        patience = Patience(30)
        while True:
            status, found = self.ask("poll", task_id=answer["metadata"]["task_id"])
            if found["metadata"]["task_status"] not in ("PENDING", "RUNNING"):
                return status, found
            assert not patience.is_over(), self.extractors.log.read_text()[-3000:]
            time.sleep(0.1)

    def metrics(self) -> dict[str, float]:
        text = urllib.request.urlopen(self._metrics, timeout=5).read().decode()
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("framemesh_frame_extractor_")]
        return {name: float(value) for name, value in lines}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    port = free_port()
    with s3_server() as server, moody_front(server.port) as front:
        extractors = Extractors(http_port=port, attempts=2, link_seconds=LINK_SECONDS, storage_seconds=2)
        secret: Path = extractors.folder / "secret"
        secret.write_text(SECRET + "\n")
        named = {
            "TOS_ENDPOINT": front.url,
            "TOS_REGION": "cn-beijing",
            "ACCESS_KEY": ACCESS,
            "SECRET_KEY_FILE": str(secret),
        }
        front.secret_key = SECRET
        server.bucket("lake")
        clip = make_clip(extractors.folder / "in.mp4", 3.0)
        server.client.put_object(Bucket="lake", Key="in.mp4", Body=clip.read_bytes())
        extractors.nats.start()
        os.environ.update(named)
        try:
            extractors.start("one")
            patience = Patience(20)
            found = Api(server, front, extractors, port, f"http://127.0.0.1:{extractors.metrics_ports['one']}/metrics")
            while True:
                try:
                    found.ask("poll", task_id="x")
                    break
                except OSError:
                    assert not patience.is_over(), extractors.log.read_text()
                    time.sleep(0.05)
            yield found
        finally:
            for name in named:
                os.environ.pop(name, None)
            for node in tuple(extractors.processes):
                extractors.kill(node, 15)  # type: ignore[arg-type]
            extractors.nats.kill()
            shutil.rmtree(extractors.nats.folder, ignore_errors=True)
            shutil.rmtree(extractors.folder, ignore_errors=True)


def test_from_submission_to_links_that_end(api: Api) -> None:
    api.front.failures = 3
    status, answer = api.done()
    assert (status, answer["data"]["frame_count"]) == (200, 3), answer
    links = {frame["http_url"]: frame["tos_path"].removeprefix("tos://lake/") for frame in answer["data"]["frames"]}
    assert sorted(links.values()) == [f"out/frame_00{index}.jpg" for index in range(3)]
    for link, key in links.items():
        assert ACCESS in link
        assert SECRET not in link
        with urllib.request.urlopen(link, timeout=5) as picture:
            assert picture.headers["Content-Type"] == "image/jpeg"
            assert picture.read() == api.server.body("lake", key)
    link = next(iter(links))
    assert status_of(link.replace("frame_000", "frame_001")) == 403, "a link is for its picture alone"
    patience = Patience(LINK_SECONDS + 5)
    while status_of(link) == 200:
        assert not patience.is_over(), "links end"
        time.sleep(0.2)
    assert status_of(link) == 403
    figures = api.metrics()
    assert figures["framemesh_frame_extractor_written_pictures_total"] == 3
    assert figures["framemesh_frame_extractor_storage_retries_total"] == 3
    assert figures["framemesh_frame_extractor_fetched_bytes_total"] > 1000
    assert figures["framemesh_frame_extractor_write_seconds_total"] > 0


def test_a_store_that_is_full_or_closed_is_told_with_its_code(api: Api) -> None:
    for to in ("tos://no-such-lake/{index}.jpg",):
        status, answer = api.done(output_path_template=to)
        assert (status, answer["metadata"]["business_code"]) == (400, "Tos.AccessFailed")
        assert "no such bucket" in answer["metadata"]["error_msg"]
    log = api.extractors.log.read_text()
    assert SECRET not in log
    assert "X-Amz-Signature" not in log
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            assert SECRET.encode() not in (folder / "cmdline").read_bytes()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
