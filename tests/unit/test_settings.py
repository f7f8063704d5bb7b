"""Settings from the environment: defaults, files, lists, and what is refused."""

from pathlib import Path

import pytest

from schemas.errors import BadRequest, InvalidValue, NotFound
from services.capture.settings import CaptureSettings
from services.publisher.settings import PublisherSettings
from services.webrtc_gateway.settings import GatewaySettings
from shared.settings import load_settings


def test_the_shipped_defaults_are_valid() -> None:
    for service, kind in (
        ("capture", CaptureSettings),
        ("publisher", PublisherSettings),
        ("webrtc-gateway", GatewaySettings),
    ):
        settings = load_settings(kind, service, {})
        assert settings.nats_url == "nats://127.0.0.1:4222"
        assert settings.bind == "127.0.0.1", "nothing listens to the world unless asked"


def test_own_settings_win_over_common_ones_and_lists_have_commas(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("nats://bus:4222\n")
    settings = load_settings(
        CaptureSettings,
        "capture",
        {
            "FRAMEMESH_BIND": "0.0.0.0",
            "FRAMEMESH_CAPTURE_BIND": "127.0.0.2",
            "FRAMEMESH_CAPTURE_RING_SLOTS": "12",
            "FRAMEMESH_CAPTURE_FILE_ROOTS": f"{tmp_path}, /srv",
            "FRAMEMESH_NATS_URL_FILE": str(secret),
        },
    )
    assert settings.bind == "127.0.0.2"
    assert settings.ring_slots == 12
    assert settings.file_roots == (tmp_path, Path("/srv"))
    assert settings.nats_url == "nats://bus:4222"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FRAMEMESH_CAPTURE_RING_SLOTS", "abc"),
        ("FRAMEMESH_CAPTURE_RING_SLOTS", "1"),
        ("FRAMEMESH_NODE", "Edge Box"),
        ("FRAMEMESH_CAPTURE_METRICS_PORT", "70000"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(variable: str, value: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        load_settings(CaptureSettings, "capture", {variable: value})
    assert variable in refused.value.message
    assert repr(value) in refused.value.message


def test_what_a_setting_is_set_to_that_nobody_knows_is_not_said_again() -> None:
    with pytest.raises(BadRequest, match="FRAMEMESH_CAPTURE_PASWORD: no such setting; there are: ") as refused:
        load_settings(CaptureSettings, "capture", {"FRAMEMESH_CAPTURE_PASWORD": "hush-hush"})
    assert "ring_slots" in refused.value.message
    assert "hush" not in refused.value.message


def test_a_secret_file_that_is_missing_is_named() -> None:
    with pytest.raises(NotFound, match="FRAMEMESH_NATS_URL_FILE '/nonexistent'"):
        load_settings(CaptureSettings, "capture", {"FRAMEMESH_NATS_URL_FILE": "/nonexistent"})


def test_a_pod_is_named_after_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMESH_HOSTNAME", "Edge_1.example.com")
    assert load_settings(CaptureSettings, "capture", {}).node == "edge-1"
    assert load_settings(CaptureSettings, "capture", {"FRAMEMESH_NODE": "cam-host"}).node == "cam-host"
    monkeypatch.setenv("FRAMEMESH_HOSTNAME", "")
    assert load_settings(CaptureSettings, "capture", {}).node
