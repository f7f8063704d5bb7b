"""STUN and TURN servers for clients: what the settings take, and what the headers say."""

import base64
import hashlib
import hmac
import re
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound
from services.webrtc_gateway.settings import GatewaySettings
from services.webrtc_gateway.transport.ice_servers import IceServers
from shared.settings import load_settings

pytestmark = pytest.mark.unit

TURN = "turn:relay.example:3478?transport=tcp"


def secret(folder: Path, text: str = "s3cret of the relay\n", mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_nothing_is_told_as_it_comes() -> None:
    assert load_settings(GatewaySettings, "webrtc-gateway", {}).ice_servers == ()
    assert IceServers().links("4fd0a1b2") == ()


def test_each_client_gets_credentials_that_end(tmp_path: Path) -> None:
    servers = IceServers(("stun:relay.example", TURN), secret_file=secret(tmp_path), credential_seconds=600)
    stun, turn = servers.links("4fd0a1b2c3d4")
    assert stun == '<stun:relay.example>; rel="ice-server"'
    found = re.fullmatch(
        rf'<{re.escape(TURN)}>; rel="ice-server"; username="(\d+):4fd0a1b2"; credential="([^"]+)";'
        ' credential-type="password"',
        turn,
    )
    assert found is not None, turn
    assert 590 < int(found[1]) - time.time() <= 600
    digest = hmac.new(b"s3cret of the relay", f"{found[1]}:4fd0a1b2".encode(), hashlib.sha1).digest()
    assert base64.b64decode(found[2]) == digest


def test_one_credential_for_all_and_another_one_later(tmp_path: Path) -> None:
    path = secret(tmp_path, "first\n")
    servers = IceServers((TURN,), username="edge", credential_file=path)
    assert servers.links("a") == servers.links("b")
    assert '; username="edge"; credential="first";' in servers.links("a")[0]
    path.write_text("second")
    servers.read()
    assert 'credential="second"' in servers.links("a")[0]
    path.write_text('third"\r\nX: y')
    with pytest.raises(BadRequest, match="TURN credential file"):
        servers.read()
    assert 'credential="second"' in servers.links("a")[0], "a file that is no good changes nothing"


@pytest.mark.parametrize(
    ("given", "error", "named"),
    [
        ({}, InvalidValue, "TURN_SECRET_FILE"),
        ({"username": "edge"}, InvalidValue, "TURN_CREDENTIAL_FILE"),
        ({"secret_file": Path("/nowhere/secret")}, NotFound, "/nowhere/secret"),
        ({"username": 'a"b', "credential_file": "ok"}, InvalidValue, "TURN_USERNAME"),
        ({"credential_file": "ok", "secret_file": "ok", "username": "edge"}, InvalidValue, "not both"),
        ({"secret_file": "empty"}, BadRequest, "empty"),
        ({"secret_file": "open"}, BadRequest, "chmod 600"),
    ],
)
def test_what_cannot_work_is_said_at_start(
    tmp_path: Path, given: dict[str, Any], error: type[MeshError], named: str
) -> None:
    files = {
        "ok": secret(tmp_path),
        "empty": tmp_path / "empty",
        "open": tmp_path / "open",
    }
    files["empty"].touch(0o600)
    files["open"].write_text("known to all")
    files["open"].chmod(0o644)
    with pytest.raises(error, match=named) as told:
        IceServers((TURN,), **{name: files.get(str(value), value) for name, value in given.items()})
    assert "s3cret" not in str(told.value)


def test_too_many_servers_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at most 8"):
        IceServers(tuple(f"stun:{number}.example" for number in range(9)))


@pytest.mark.parametrize(
    "url",
    [
        "http://relay.example",
        "turn:",
        "turn:relay.example?transport=sctp",
        "stun:relay.example?transport=udp",
        "turn:user:password@relay.example",
        'turn:a>; rel="x"',
        "turn:a\r\nX: y",
        "turn:a:123456",
    ],
)
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue, match="ICE_SERVERS"):
        load_settings(GatewaySettings, "webrtc-gateway", {"FRAMEMESH_WEBRTC_GATEWAY_ICE_SERVERS": url})


def test_every_kind_of_server_is_taken() -> None:
    urls = ("stun:1.2.3.4", "stuns:a.example:5349", "turns:[2001:db8::1]:443?transport=tcp", "turn:a.example")
    environment = {"FRAMEMESH_WEBRTC_GATEWAY_ICE_SERVERS": ", ".join(urls)}
    assert load_settings(GatewaySettings, "webrtc-gateway", environment).ice_servers == urls
