"""Viewers and publishers behind firewalls: through a TURN relay with the console's own modules, and over TCP."""

import base64
import hashlib
import hmac
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_whip_ingest import browser, http, wait_for_state

from tests.support.mesh import RunningMesh
from tests.support.metrics import total
from tests.support.turn import TURNSERVER, TurnServer, turn_server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path(TURNSERVER).exists(), reason="needs coturn"),
]
# Of the answer's candidates only those that are connected to.
NO_UDP = """
  const take = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({type, sdp}) {
    const lines = sdp.split('\\r\\n').filter((line) => !/^a=candidate.* udp /.test(line));
    return take.call(this, {type, sdp: lines.join('\\r\\n')});
  };
"""
TOKEN = "a-token-of-who-watches"
PUBLISHER_TOKEN = "a-token-of-who-publishes"
# Whatever a page asks for, it may use relayed addresses only: as if a firewall dropped all else.
RELAY_ONLY = """
  const Peer = window.RTCPeerConnection;
  window.peers = [];
  window.RTCPeerConnection = class extends Peer {
    constructor(options) { super({...options, iceTransportPolicy: 'relay'}); window.peers.push(this); }
  };
"""
SIGN_IN = "(token) => fetch('/api/login', {method: 'POST', headers: {Authorization: 'Bearer ' + token}})"
WATCH = """
async (stream) => {
  const {WhepSession} = await import('/console/whep.js');
  const video = document.createElement('video');
  video.muted = true; video.autoplay = true; document.body.append(video);
  const shown = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  const onStream = (media) => { video.srcObject = media; };
  const opening = new WhepSession('/whep/' + stream, {onStream, onLost() {}}).open();
  window.mine = window.peers?.at(-1);
  await opening;
  await shown;
}
"""
PUBLISH = """
async (stream) => {
  const {WhipSession} = await import('/console/whip.js');
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 180}, audio: true});
  const opening = new WhipSession(stream, () => {}).open(media);
  window.mine = window.peers?.at(-1);
  await opening;
}
"""
LOCAL_KINDS = """
async () => {
  const reports = [...(await window.mine.getStats()).values()];
  const pairs = reports.filter((report) => report.type === 'candidate-pair' && report.state === 'succeeded');
  return pairs.map((pair) => reports.find((report) => report.id === pair.localCandidateId).candidateType);
}
"""


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServer]:
    with turn_server(tmp_path_factory.mktemp("turn")) as server:
        yield server


@pytest.fixture(scope="module")
def mesh(relay: TurnServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.yaml"
    tokens.touch(0o600)
    tokens.write_text(
        f"[{{name: wall, token: {TOKEN}, streams: ['*'], actions: [view]}},"
        f" {{name: page, token: {PUBLISHER_TOKEN}, streams: ['page*'], actions: [view, publish]}}]"
    )
    environment = {
        "FRAMEMESH_WEBRTC_GATEWAY_ICE_SERVERS": f"stun:127.0.0.1:{relay.port},{relay.url}",
        "FRAMEMESH_WEBRTC_GATEWAY_TURN_SECRET_FILE": str(relay.secret_file),
        "FRAMEMESH_WEBRTC_GATEWAY_TOKENS_FILE": str(tokens),
        "FRAMEMESH_WEBRTC_GATEWAY_CORS_ORIGINS": "https://wall.example",
        "FRAMEMESH_WEBRTC_GATEWAY_TCP_PORT": "0",
        "FRAMEMESH_WEBRTC_HOSTS": "localhost",
    }
    with RunningMesh(environment=environment) as running:
        running.call("capture.start", stream="cam0", source="test://?size=384x216&fps=30")
        running.call("hw-encode.start", stream="cam0", rendition="main", bitrate="500k")
        yield running


def test_only_who_may_use_them_is_told_of_the_servers(mesh: RunningMesh, relay: TurnServer) -> None:
    def told(path: str, token: str, **headers: str) -> tuple[int, list[str]]:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        status, found, _ = http(mesh, "OPTIONS", path, **headers)
        return status, found.get_all("Link") or []

    for path, token in (("whep/cam0", TOKEN), ("whep/cam0/main", TOKEN), ("whip/page", PUBLISHER_TOKEN)):
        status, links = told(path, token)
        assert status == 204
        assert [link.partition(">")[0] for link in links] == [f"<stun:127.0.0.1:{relay.port}", f"<{relay.url}"]
        assert 'credential-type="password"' in links[1]
    page = {"Origin": "https://wall.example", "Access-Control-Request-Method": "POST"}
    assert told("whep/cam0", "", **page) == (204, []), "the same preflight as ever"
    assert told("whip/page", TOKEN) == (403, [])
    assert told("whep/cam0", PUBLISHER_TOKEN) == (403, [])
    assert told("whep/cam0", "nobody-has-such-a-token")[0] == 401
    request = urllib.request.Request(mesh.console + "whep/cam0", method="OPTIONS")
    request.add_header("Origin", "https://wall.example")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=5) as response:
        assert "Link" in response.headers["Access-Control-Expose-Headers"]
    secret = relay.secret_file.read_text()
    assert secret not in mesh.log.read_text()


@pytest.mark.browser
async def test_pictures_come_and_go_through_the_relay(mesh: RunningMesh, relay: TurnServer, tmp_path: Path) -> None:
    async with browser(mesh, tmp_path / "profile") as context:
        await context.add_init_script(RELAY_ONLY)
        viewer, publisher = await context.new_page(), await context.new_page()
        await viewer.goto(mesh.console + "api/login")
        await viewer.evaluate(SIGN_IN, TOKEN)
        await viewer.evaluate(WATCH, "cam0")
        assert set(await viewer.evaluate(LOCAL_KINDS)) == {"relay"}
        await publisher.goto(mesh.console)
        await publisher.evaluate(SIGN_IN, PUBLISHER_TOKEN)
        await publisher.evaluate(PUBLISH, "page")
        wait_for_state(mesh, "page", "live")
        assert set(await publisher.evaluate(LOCAL_KINDS)) == {"relay"}
        assert len(relay.users) >= 2, "each client has credentials of its own; the console plays too"


@pytest.mark.browser
@pytest.mark.long
async def test_a_page_publishes_over_tcp(mesh: RunningMesh, tmp_path: Path) -> None:
    async with browser(mesh, tmp_path / "profile") as context:
        await context.add_init_script(NO_UDP)
        page = await context.new_page()
        await page.goto(mesh.console)
        await page.evaluate(SIGN_IN, PUBLISHER_TOKEN)
        await page.evaluate(PUBLISH, "page-tcp")
        wait_for_state(mesh, "page-tcp", "live")
        assert total(mesh.ready["metrics"]["webrtc-gateway"], "framemesh_webrtc_tcp_connections") >= 1


def test_another_secret_is_taken_without_a_restart(mesh: RunningMesh, relay: TurnServer) -> None:
    relay.secret_file.write_text("another one")

    def is_new() -> bool:
        _, headers, _ = http(mesh, "OPTIONS", "whep/cam0", Authorization=f"Bearer {TOKEN}")
        told = dict(re.findall(r'(\w+)="([^"]*)"', headers.get_all("Link")[1]))
        digest = hmac.new(b"another one", told["username"].encode(), hashlib.sha1).digest()
        return base64.b64decode(told["credential"]) == digest

    mesh.wait_for(is_new, what="credentials of the other secret")
