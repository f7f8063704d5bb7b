"""Pushes over TLS: a certificate that nobody vouches for is refused, one that the system knows is taken."""

import ssl
from pathlib import Path

import pytest
from test_publisher_outputs import needs_nginx
from test_whip_output import Live, refusal

from services.publisher.outputs.base import OutputSettings
from tests.support.peers import free_port, probe, rtmp_server, rtsp_receiver, wait_until
from tests.support.tls_front import certificate, server_context, tls_front
from tests.support.whip_server import whip_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    found, key = certificate(tmp_path_factory.mktemp("tls"))
    return found, server_context(found, key)


@pytest.fixture
def settings() -> OutputSettings:
    return OutputSettings(network_timeout_seconds=2.0)


def test_whip(made: tuple[Path, ssl.SSLContext], settings: OutputSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with whip_server(free_port(), made[1]) as server:
        error = refusal(server.url, settings)
        assert "certificate is not valid for 127.0.0.1: self-signed" in error.message
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
        with Live(server.url, settings) as rig:
            rig.wait_for("running")
            wait_until(lambda: len(server.pictures) > 5, 5.0, "pictures")


@needs_nginx
def test_rtmps(
    made: tuple[Path, ssl.SSLContext], settings: OutputSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with rtmp_server(tmp_path) as server, tls_front(server.port, made[1]) as front:
        url = f"rtmps://127.0.0.1:{front.port}/live/key0"
        assert "its certificate is not valid" in refusal(url, settings).message
        assert front.received_bytes == 0, "not a word to whom nobody vouches for"
        monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
        with Live(url, settings, tracks=("video", "aac")) as rig:
            rig.wait_for("running")
            wait_until(lambda: server.recorded_bytes > 10_000, 5.0, "a recording")


def test_rtsps(
    made: tuple[Path, ssl.SSLContext], settings: OutputSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    with rtsp_receiver(target, port := free_port()), tls_front(port, made[1]) as front:
        url = f"rtsps://127.0.0.1:{front.port}/cam0"
        assert "its certificate is not valid" in refusal(url, settings).message
        assert front.received_bytes == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
        with Live(url, settings, tracks=("video", "aac")) as rig:
            rig.wait_for("running")
            wait_until(lambda: rig.writer.progress.bytes_written > 20_000, 5.0, "pictures")
    assert probe(target)["video"].decoded > 5
