"""Commands and pictures over HTTP, on a real mesh: the same checks and errors as on the bus."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.mesh import RunningMesh

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SOURCE = "test://?size=384x216&fps=25"
_SECONDS = 20.0


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def ask(mesh: RunningMesh, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
    request = Request(mesh.console + path.lstrip("/"), body, headers={"Content-Type": kind})
    try:
        with urlopen(request, timeout=_SECONDS) as response:
            return response.status, response.read()
    except HTTPError as error:
        return error.code, error.read()


def give(mesh: RunningMesh, command: str, **fields: Any) -> tuple[int, Any]:
    status, body = ask(mesh, f"/api/cmd/{command}", json.dumps(fields).encode())
    return status, json.loads(body)


def test_a_stream_from_its_start_to_its_end(mesh: RunningMesh) -> None:
    status, started = give(mesh, "capture.start", stream="cam0", source=SOURCE)
    assert (status, started.get("actual", {}).get("state")) == (200, "live"), started
    status, listed = give(mesh, "capture.list")
    assert [entry["spec"]["stream"] for entry in listed["streams"]] == ["cam0"]
    assert give(mesh, "capture.stats/cam0")[1]["width"] == 384
    assert ask(mesh, "/api/cmd/capture.list", b"")[0] == 200, "an empty body is {}"

    status, picture = ask(mesh, "/frame/cam0?width=160")
    assert (status, picture[:3]) == (200, b"\xff\xd8\xff")
    status, picture = ask(mesh, "/frame/cam0?format=png")
    assert (status, picture[1:4], picture[16:24]) == (200, b"PNG", (384).to_bytes(4) + (216).to_bytes(4))

    status, changed = give(mesh, "hw-encode.start", stream="cam0", rendition="small", bitrate="200k")
    assert status == 200
    assert give(mesh, "hw-encode.keyframe/cam0--small", reason="test")[0] in (200, 503)

    status, error = give(mesh, "capture.start", stream="cam0", source=SOURCE, revision=99)
    assert status == 409, error
    status, changed = give(mesh, "capture.start", stream="cam1", source="file://nowhere.mp4", wait_s=0)
    assert (status, changed["code"]) == (202, 202)
    status, error = give(mesh, "capture.start", stream="cam1", source="file://nowhere.mp4")
    assert (status, error["code"]) == (404, 404)
    assert error["reply"]["actual"]["error"]["code"] == 404, error
    for stream in ("cam0", "cam1"):
        assert give(mesh, "capture.stop", stream=stream)[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/api/cmd/capture.format-disk", b"{}", 404, "capture.start"),
        ("/api/cmd/mesh.v1.cmd.capture.list", b"{}", 404, "no command"),
        ("/api/cmd/capture.list%2E%3E", b"{}", 404, "no command"),
        ("/api/cmd/capture.snapshot", b"{}", 400, "/api/cmd/capture.snapshot/<stream>"),
        ("/api/cmd/capture.snapshot/a.b", b"{}", 400, "a.b"),
        ("/api/cmd/capture.snapshot/*", b"{}", 400, "*"),
        ("/api/cmd/capture.snapshot/cam0--main", b"{}", 400, "<stream>"),
        ("/api/cmd/hw-encode.keyframe/cam0", b"{}", 400, "<stream>--<rendition>"),
        ("/api/cmd/capture.list/cam0", b"{}", 400, "/api/cmd/capture.list"),
        ("/api/cmd/capture.start", b"{", 400, "capture.start"),
        ("/api/cmd/capture.start", b'{"stream":"cam0"}', 400, "source"),
        ("/api/cmd/capture.start", b'{"stream":"../x","source":"test://"}', 400, "$.stream"),
        ("/api/cmd/capture.list", b'{"streem":"cam0"}', 400, "streem"),
        ("/api/cmd/capture.list", b"\xff\xfe", 400, "capture.list"),
        ("/api/cmd/capture.list", b"[" * 60_000, 400, "capture.list"),
        ("/api/cmd/capture.list", b" " * 70_000, 413, "65536 bytes"),
        ("/frame/nosuch?wait=0", None, 503, "capture.nosuch.snapshot"),
        ("/frame/cam0?width=1", None, 400, "width"),
        ("/frame/cam0?color=red", None, 400, "color"),
        ("/frame/a.b", None, 400, "a.b"),
    ],
)
def test_what_is_wrong_is_named(mesh: RunningMesh, path: str, body: bytes | None, status: int, named: str) -> None:
    answered, text = ask(mesh, path, body)
    assert answered == status, text
    error = json.loads(text)
    assert error["code"] == status
    assert named in error["message"]


def test_a_form_of_another_page_gives_no_command(mesh: RunningMesh) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(mesh, "/api/cmd/capture.list", b"{}", kind)[0] == 415


def test_the_list_of_commands_tells_what_each_needs(mesh: RunningMesh) -> None:
    status, body = ask(mesh, "/api/cmd")
    actions = {entry["name"]: entry["action"] for entry in json.loads(body)}
    assert status == 200
    assert actions["capture.list"] == actions["capture.snapshot"] == actions["webrtc-gateway.sessions"] == "view"
    assert actions["capture.start"] == actions["publisher.start-recording"] == actions["capture.ptz"] == "control"
