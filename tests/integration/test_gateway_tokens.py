"""The door of a real mesh: every route with every kind of token, and no token anywhere that it was not sent to."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aiohttp
import jwt
import pytest

from schemas.tokens import TokenClaims
from shared.tokens import TokenKey, claims_for, new_key_pair, parse_key, sign
from tests.support.mesh import RunningMesh
from tests.support.pace import Patience, patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

OFFER = (Path(__file__).parents[1] / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()
SOURCE = "test://?size=384x216&fps=25"
PREFIX = "FRAMEMESH_WEBRTC_GATEWAY_"
_SECONDS = 15.0
JSON, SDP = "application/json", "application/sdp"


@dataclass
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Guarded:
    mesh: RunningMesh
    folder: Path
    private: TokenKey
    told: list[str] = field(default_factory=list)
    """Every token that was sent."""

    def ask(
        self, method: str, path: str, token: str | None = None, body: bytes | None = None, kind: str = JSON, **more: str
    ) -> Answer:
        headers = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in more.items()}}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
            self.told.append(token)
        request = Request(self.mesh.console + path.lstrip("/"), body, headers, method=method)
        try:
            with urlopen(request, timeout=_SECONDS) as response:
                return Answer(response.status, response.headers, response.read())
        except HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def token(self, streams: str, actions: str, seconds: float = 60, name: str = "") -> str:
        return sign(claims_for(tuple(streams.split()), tuple(actions.split()), seconds, name), self.private)


STATIC_ALL = "the-token-of-the-control-room"
STATIC_LINE = "the-token-of-line-pc-number-7"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def tokens_file(*entries: tuple[str, str, str, str]) -> str:
    listed = [
        {"name": name, "token": token, "streams": streams.split(), "actions": actions.split()}
        for name, token, streams, actions in entries
    ]
    return json.dumps(listed)


ENTRIES = (("room", STATIC_ALL, "*", "view publish control"), ("line-pc", STATIC_LINE, "line-*", "view control"))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("door")
    private, public = new_key_pair()
    for name, data in (("public.pem", public), ("tokens.yaml", tokens_file(*ENTRIES).encode())):
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    environment = {
        f"{PREFIX}TOKENS_FILE": str(folder / "tokens.yaml"),
        f"{PREFIX}TOKEN_KEY_FILE": str(folder / "public.pem"),
        f"{PREFIX}FAILURES_PER_SECOND": "0",
        f"{PREFIX}COMMANDS_PER_SECOND": "0",
        f"{PREFIX}SESSIONS_PER_SECOND": "0",
    }
    with RunningMesh(environment=environment) as mesh:
        guarded = Guarded(mesh, folder, parse_key(private, "key"))
        for stream in ("cam0", "line-1"):
            mesh.call("capture.start", stream=stream, source=SOURCE)
        yield guarded


# method, path, body, content type, action that it needs, whether that is of stream cam0
ROUTES: dict[str, tuple[str, str, bytes | None, str, str, bool]] = {
    "status": ("GET", "/api/status", None, JSON, "view", False),
    "whep": ("POST", "/whep/cam0", OFFER, SDP, "view", True),
    "whep-rendition": ("POST", "/whep/cam0/main", OFFER, SDP, "view", True),
    "whep-end": ("DELETE", "/whep/cam0/main/nosuch", None, SDP, "view", True),
    "whip": ("POST", "/whip/cam0", OFFER, SDP, "publish", True),
    "hls": ("GET", "/hls/cam0/nosuch/index.m3u8", None, JSON, "view", True),
    "frame": ("GET", "/frame/cam0?width=64", None, JSON, "view", True),
    "read-command": ("POST", "/api/cmd/capture.stats/cam0", b"{}", JSON, "view", True),
    "read-by-field": ("POST", "/api/cmd/capture.list", b'{"stream":"cam0"}', JSON, "view", True),
    "command": ("POST", "/api/cmd/capture.start", json.dumps({"stream": "cam0", "source": SOURCE}).encode(), JSON,
                "control", True),
    "recording": ("POST", "/api/cmd/publisher.stop-recording", b'{"stream":"cam0"}', JSON, "control", True),
    "key-frame": ("POST", "/api/cmd/hw-encode.keyframe/cam0--main", b"{}", JSON, "control", True),
}  # fmt: skip
OTHERS = {"view": "publish control", "publish": "view control", "control": "view publish"}


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_with_every_token(door: Guarded, route: str) -> None:
    method, path, body, kind, action, of_stream = ROUTES[route]

    def ask(token: str | None) -> Answer:
        return door.ask(method, path, token, body, kind)

    none = ask(None)
    assert (none.status, none.headers["WWW-Authenticate"]) == (401, 'Bearer realm="framemesh"')
    stranger = parse_key(new_key_pair()[0], "another")
    now_s = int(time.time())
    early = TokenClaims(streams=("*",), actions=("view", "publish", "control"), exp=now_s + 90, nbf=now_s + 60)
    for wrong, why in (
        ("nothing-that-anybody-knows-here", "not known"),
        (sign(claims_for(("*",), ("view", "publish", "control"), 60), stranger), "signature"),
        (door.token("*", "view publish control", seconds=-30), "expired"),
        (sign(early, door.private), "not valid yet"),
        (jwt.encode({"streams": ["*"], "actions": [action], "exp": now_s + 60}, None, algorithm="none"), "algorithm"),
        (jwt.encode({"streams": ["*"], "actions": [action], "exp": now_s + 60}, "x" * 40), "algorithm"),
    ):
        refused = ask(wrong)
        assert refused.status == 401, (wrong, refused.body)
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
        assert why in refused.json["message"]
        assert wrong not in refused.body.decode()
    lacking = [door.token("*", OTHERS[action])]
    if of_stream:
        lacking += [door.token("cam1 cam", action), STATIC_LINE, door.token("line-*", action)]
    for short in lacking:
        refused = ask(short)
        assert refused.status == 403, refused.body
        assert f'scope="{action}:' in refused.headers["WWW-Authenticate"]
        assert action in refused.json["message"]
    for right in (STATIC_ALL, door.token("cam0", action), door.token("cam*", action)):
        answer = ask(right)
        assert answer.status not in (401, 403), answer.body


def test_jobs_are_for_who_sees_everything(door: Guarded) -> None:
    job = "task-20260504100000-abc123def456"
    place = {"video": "https://127.0.0.1/a.mp4", "to": "gopher://nowhere/{index}"}
    poll = ("POST", "/api/cmd/frame-extractor.poll", json.dumps({"job": job}).encode(), "view", 404)
    for method, path, body, action, answered in (
        ("POST", "/api/cmd/frame-extractor.list", b"{}", "view", 200),
        ("POST", "/api/cmd/frame-extractor.usage", b"{}", "view", 200),
        poll,
        ("GET", f"/pictures/{job}/0", None, "view", 404),
        ("POST", "/api/cmd/frame-extractor.submit", json.dumps(place).encode(), "control", 400),
        ("POST", "/api/cmd/frame-extractor.cancel", json.dumps({"job": job}).encode(), "control", 404),
    ):
        for lacking in (door.token("cam0 task-*", "view publish control"), door.token("*", OTHERS[action])):
            assert door.ask(method, path, lacking, body).status == 403, path
        assert door.ask(method, path, None, body).status == 401, path
        assert door.ask(method, path, door.token("*", action), body).status == answered, path


@pytest.mark.parametrize("path", ["/", "/console/app.js", "/console"])
def test_the_console_itself_is_open(door: Guarded, path: str) -> None:
    assert door.ask("GET", path).status == 200


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/recordings/a.mp4", "/signaling", "/api/cmd/x", "/whep"])
def test_what_is_not_there_is_shut_too(door: Guarded, path: str) -> None:
    assert door.ask("POST", path).status == 401
    assert door.ask("POST", path, STATIC_ALL).status in (403, 404, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/whep/line-1%2F..%2Fcam0",
        "/whep/cam0%2Fmain",
        "/frame/line-1%2e%2e%2fcam0",
        "//frame/cam0",
        "/frame/../frame/cam0",
    ],
)
def test_no_spelling_of_a_path_leads_elsewhere(door: Guarded, path: str) -> None:
    status = door.ask(
        "POST" if "whep" in path else "GET", path, STATIC_LINE, OFFER if "whep" in path else None, SDP
    ).status
    assert status in (400, 403, 404)


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Basic cm9vbTp4", "bearer\t", STATIC_ALL, f"Bearer {STATIC_ALL} x"]
)
def test_odd_headers(door: Guarded, value: str) -> None:
    answer = door.ask("GET", "/api/status", Authorization=value)
    assert answer.status == 401
    assert STATIC_ALL not in answer.body.decode() + str(answer.headers)


def test_a_token_in_the_address_is_not_looked_at(door: Guarded) -> None:
    for name in ("token", "access_token", "jwt"):
        assert door.ask("GET", f"/api/status?{name}=some-token").status == 401


def test_what_a_token_for_some_streams_sees(door: Guarded) -> None:
    status = door.ask("GET", "/api/status", STATIC_LINE).json
    assert [entry["spec"]["stream"] for entry in status["streams"]] == ["line-1"]
    assert not [presence for presence in status["services"] if presence.get("metrics_url") or presence["pid"]]
    assert {"cam0", "line-1"} == {
        entry["spec"]["stream"] for entry in door.ask("GET", "/api/status", STATIC_ALL).json["streams"]
    }
    listed = door.ask("POST", "/api/cmd/capture.list", STATIC_LINE, b"{}")
    assert [entry["spec"]["stream"] for entry in listed.json["streams"]] == ["line-1"]
    for about_all in ("capture.devices/test", "publisher.fetch/test"):
        body = b'{"file":"a.mp4"}' if "fetch" in about_all else b"{}"
        assert door.ask("POST", f"/api/cmd/{about_all}", STATIC_LINE, body).status == 403
    twice = b'{"stream":"line-1","stream":"cam0"}'
    assert door.ask("POST", "/api/cmd/capture.stop", STATIC_LINE, twice).status == 403


def test_a_session_is_ended_by_its_own_token_only(door: Guarded) -> None:
    mine, same, other = (door.token("cam0", "view", name=name) for name in ("wall", "wall", "desk"))
    opened = door.ask("POST", "/whep/cam0", mine, OFFER, SDP)
    assert opened.status == 201
    session = opened.headers["Location"]
    assert door.ask("DELETE", session).status == 401
    assert door.ask("DELETE", session, STATIC_LINE).status == 403
    assert door.ask("DELETE", session, other).status == 403
    assert door.ask("PATCH", session, other, b"", SDP).status == 403
    elsewhere = session.replace("/cam0/", "/line-1/")
    assert door.ask("DELETE", elsewhere, STATIC_LINE).status == 403, "named under a stream of another token"
    assert door.ask("DELETE", elsewhere, door.token("*", "view", name="wall")).status == 403
    assert door.ask("DELETE", session, same).status == 200, "another token of the same name"
    second = door.ask("POST", "/whep/cam0", mine, OFFER, SDP).headers["Location"]
    assert door.ask("DELETE", second, STATIC_ALL).status == 200, "who has control"


def test_signing_in(door: Guarded) -> None:
    page = door.mesh.console.rstrip("/")
    assert door.ask("POST", "/api/login").status == 401
    answer = door.ask("POST", "/api/login", STATIC_LINE)
    assert answer.json == {
        "tokens": True,
        "name": "line-pc",
        "streams": ["line-*"],
        "actions": ["control", "view"],
        "expires_s": None,
    }
    cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert "Secure" not in attributes, "it came over plain HTTP"
    assert STATIC_LINE not in cookie

    def with_cookie(path: str, **more: str) -> int:
        return door.ask("GET", path, Cookie=cookie, **more).status

    assert with_cookie("/frame/line-1?width=64") == 200
    assert with_cookie("/frame/cam0?width=64") == 403
    assert with_cookie("/api/status", Sec_Fetch_Site="same-site") == 401, "a page of another port"
    assert door.ask("GET", "/api/status", Cookie=cookie[:-1] + ("0" if cookie[-1] != "0" else "1")).status == 401
    assert door.ask("POST", "/api/login", Cookie=cookie, Origin=page).headers["Set-Cookie"], "renewed"
    assert "Max-Age=0" in door.ask("POST", "/api/logout", Cookie=cookie).headers["Set-Cookie"]
    signed_in = door.ask("POST", "/api/login", door.token("cam0", "view", seconds=30))
    assert 20 <= int(signed_in.headers["Set-Cookie"].partition("Max-Age=")[2].partition(";")[0]) <= 30


async def test_the_event_socket(door: Guarded) -> None:
    url = door.mesh.console + "api/events"
    async with aiohttp.ClientSession() as http:
        for protocols in ((), ("framemesh",), ("framemesh", "bearer.nothing-that-anybody-knows")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(url, protocols=protocols)
            assert refused.value.status == 401
        async with http.ws_connect(url, protocols=("framemesh", f"bearer.{STATIC_LINE}")) as socket:
            assert socket.protocol == "framemesh"
            first = await socket.receive_json(timeout=5)
            assert [entry["spec"]["stream"] for entry in first["status"]["streams"]] == ["line-1"]
            for stream in ("cam0", "line-1"):
                await asyncio.to_thread(door.mesh.call, "capture.start", stream=stream, source=SOURCE + "&timecode=1")
            seen = set()
            while "line-1" not in seen:
                message = await socket.receive_json(timeout=10)
                seen |= {message["event"]["id"]} if message["type"] == "event" else set()
            assert "cam0" not in seen
        async with http.ws_connect(url, headers=bearer(STATIC_LINE)) as socket:
            assert await socket.receive_json(timeout=5)
            path = door.folder / "tokens.yaml"
            path.write_text(tokens_file(ENTRIES[0]))
            async with patience(5):
                async for _ in socket:
                    pass
            path.write_text(tokens_file(*ENTRIES))
            async with patience(5):
                while True:
                    async with http.get(url.replace("events", "status"), headers=bearer(STATIC_LINE)) as response:
                        if response.status == 200:
                            break
                    await asyncio.sleep(0.1)
        short = door.token("*", "view", seconds=2)
        async with http.ws_connect(url, headers=bearer(short)) as socket:
            async with patience(10):
                async for _ in socket:
                    pass
            assert socket.close_code == 1008


def test_the_tokens_file_is_read_again(door: Guarded) -> None:
    path = door.folder / "tokens.yaml"
    fresh = "a-token-that-came-later-on"
    cookie = door.ask("POST", "/api/login", STATIC_LINE).headers["Set-Cookie"].partition(";")[0]
    assert door.ask("GET", "/api/status", fresh).status == 401
    line = door.ask("POST", "/whep/line-1", STATIC_LINE, OFFER, SDP).headers["Location"]
    room = door.ask("POST", "/whep/line-1", STATIC_ALL, OFFER, SDP).headers["Location"]
    path.write_text(tokens_file(ENTRIES[0], ("later", fresh, "*", "view")))
    waited = Patience(5)
    while door.ask("GET", "/api/status", fresh).status != 200:
        assert not waited.is_over(), "the file was not read again"
        time.sleep(0.1)
    assert door.ask("GET", "/api/status", STATIC_LINE).status == 401
    assert door.ask("GET", "/api/status", Cookie=cookie).status == 401, "the cookie ends with its token"
    assert door.ask("DELETE", line, STATIC_ALL).status == 404, "and so do its sessions"
    assert door.ask("DELETE", room, STATIC_ALL).status == 200
    path.write_text("- {token: broken")
    waited = Patience(5)
    while "tokens stays as it was" not in door.mesh.log.read_text():
        assert not waited.is_over(), "a broken file is not told of"
        time.sleep(0.1)
    assert door.ask("GET", "/api/status", fresh).status == 200, "what was read stays"
    path.write_text(tokens_file(*ENTRIES))


def test_no_token_is_anywhere(door: Guarded) -> None:
    """After all that was asked before: not in the log, not in a command line, not in an event or state."""
    url = door.mesh.console.rstrip("/").rpartition(":")
    host, port = url[0].rpartition("/")[2], int(url[2])

    async def malformed() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /api/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {STATIC_ALL}\x01\r\n\r\n".encode())
        await asyncio.wait_for(reader.read(1000), 5)
        writer.close()

    asyncio.run(malformed())
    secrets = {token for token in (*door.told, STATIC_ALL, STATIC_LINE) if len(token) > 10}
    argv = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            argv += path.read_bytes() + b" "
    # What was refused is told of a moment later.
    door.mesh.wait_for(
        lambda: "malformed request" in door.mesh.log.read_text(), 5, "the malformed request is in the log"
    )
    # The log, and what the bus keeps: events, states, secrets.
    kept = {}
    for path in door.mesh.folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # the server has written it anew meanwhile
            if path.is_file():
                kept[str(path)] = path.read_bytes()
    log = kept[str(door.mesh.log)].decode()
    assert len(kept) > 3
    for name, content in {"argv": argv, **kept}.items():
        assert not [token for token in secrets if token.encode() in content], name
    assert "by line-pc" in log or "by room" in log, "who gave a command is told by name"
