"""Samples of a live stream in an S3 server that goes away for a while: every picture that fits is there, once."""

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.mesh import RunningMesh
from tests.support.object_store import S3Server, free_port, moody_front, s3_server
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(120)]

EVERY_S = 0.5
FPS = 20
AWAY_SECONDS = 5.0
SECRET = "hush-hush-secret-of-s3"


def entries(mesh: RunningMesh) -> dict[str, dict[str, Any]]:
    listed = mesh.call("frame-extractor.samples", stream="cam0")["samples"]
    return {entry["spec"]["sample"]: entry["actual"] for entry in listed}


def until(mesh: RunningMesh, sample: str, pictures: int) -> None:
    patience = Patience(30)
    while entries(mesh)[sample]["pictures"] < pictures:
        assert not patience.is_over(), entries(mesh)
        time.sleep(0.1)


def names(server: S3Server, sample: str) -> list[tuple[str, int]]:
    """The second and the number of each picture, in the order of time."""
    found = []
    for entry in server.client.list_objects_v2(Bucket="samples", Prefix=f"{sample}/").get("Contents", []):
        assert server.body("samples", entry["Key"]).startswith(b"\xff\xd8\xff")
        second, _, number = entry["Key"].partition("/")[2].removesuffix(".jpg").split("-")
        found.append((second, int(number)))
    return sorted(found, key=lambda one: one[1])


def test_a_store_that_is_away_for_a_while(tmp_path: Path) -> None:
    port = free_port()
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY_FILE": str(secret),
        "FRAMEMESH_FRAME_EXTRACTOR_HTTP_PORT": "0",
    }
    with s3_server() as server, RunningMesh(environment=environment) as mesh:
        server.bucket("samples")
        mesh.call("capture.start", stream="cam0", source=f"test://?size=384x216&fps={FPS}")
        with moody_front(server.port, port):
            for sample, asked in {"timed": {"every": f"{EVERY_S}s"}, "told": {"event": "capture.>"}}.items():
                to = f"s3://samples/{sample}/{{start:%H%M%S}}-{{epoch}}-{{sequence}}.jpg"
                mesh.call("frame-extractor.start-sample", stream="cam0", sample=sample, to=to, **asked)
            until(mesh, "timed", 4)
        gone_at = time.gmtime(time.time() + 1)
        time.sleep(AWAY_SECONDS / 2)
        mesh.call("capture.start", stream="cam9", source="test://?size=384x216")
        time.sleep(AWAY_SECONDS / 2)
        back_at = time.gmtime()
        before = entries(mesh)
        with moody_front(server.port, port):
            until(mesh, "timed", before["timed"]["pictures"] + round(AWAY_SECONDS / EVERY_S) + 2)
            until(mesh, "told", before["told"]["pictures"] + 1)
            now = entries(mesh)
        assert {name: actual["missed"] for name, actual in now.items()} == {"timed": 0, "told": 0}, now
        numbers = [number for _, number in names(server, "timed")]
        # One picture of so many is taken: between the first and the last none is missing, and none is there twice.
        steps = {after - before for before, after in itertools.pairwise(numbers)}
        assert max(steps) < 1.8 * FPS * EVERY_S, steps
        assert min(steps) > 0.2 * FPS * EVERY_S, steps
        seconds = [second for second, _ in names(server, "told")]
        assert any(time.strftime("%H%M%S", gone_at) <= second <= time.strftime("%H%M%S", back_at) for second in seconds)
        mesh.stop()
        assert SECRET not in mesh.log.read_text()
