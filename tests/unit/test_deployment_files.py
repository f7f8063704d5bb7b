"""compose.yaml and ops/Dockerfile against the table of the services, and against what all of them must keep to."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.service_table import SERVICE_TABLE, ServiceEntry

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "ops/Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PUBLISHED = re.compile(r"\$\{FRAMEMESH_(OPERATOR_)?ADDRESS:-127\.0\.0\.1\}:\$\{FRAMEMESH_\w+_PORT:-\d+\}:\d+(/udp)?")
by_entry = pytest.mark.parametrize("entry", SERVICE_TABLE, ids=lambda entry: entry.name)


def stage(name: str) -> str:
    """Its lines."""
    return re.split(r"^FROM ", DOCKERFILE.partition(f" AS {name}\n")[2], flags=re.M)[0]


@by_entry
def test_each_service_has_an_image(entry: ServiceEntry) -> None:
    text = stage(entry.name)
    assert f'ENTRYPOINT ["python", "-m", "{entry.module}"]' in text
    assert f'description="{entry.summary}"' in text
    assert f"FRAMEMESH_SERVICE={entry.name}" in text
    assert "USER 10001:10001" in text
    exposed = re.search(r"^EXPOSE (.+)$", text, re.M)
    assert exposed
    ports = {str(port) for port in (entry.metrics_port, entry.http_port, entry.rtsp_port) if port}
    assert set(exposed[1].split()) == ports | ({f"{entry.udp_port}/udp"} if entry.udp_port else set())


@by_entry
def test_each_image_installs_its_extras_and_no_other(entry: ServiceEntry) -> None:
    layer = "media" if entry.name == "hw-encode" else entry.name
    assert re.search(rf"(?<!\S){layer}={','.join(entry.extras)}(?!\S)", stage("requirements"))
    from_stage = "srt" if "ffmpeg" in entry.debian_packages else None
    assert (f"--from={from_stage} " in stage(entry.name)) is (from_stage is not None)
    for package in set(entry.debian_packages) - {"ffmpeg"}:
        assert package in stage(entry.name)


def test_the_image_says_its_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}\n" in DOCKERFILE


def test_any_builder_takes_the_dockerfile() -> None:
    """What older engines lack, and what only a registry gives."""
    assert not re.search(r"^# *syntax=|<<|--link|@sha256|x86_64|amd64", DOCKERFILE, re.M)


@by_entry
def test_each_service_runs_in_compose(entry: ServiceEntry) -> None:
    service = SERVICES[entry.name]
    assert service["build"]["target"] == entry.name
    assert "frames:/frames" in service["volumes"]
    inside = {port.rpartition(":")[2] for port in service.get("ports", ())}
    asked = {str(port) for port in (entry.http_port, entry.rtsp_port) if port}
    assert inside == asked | ({f"{entry.udp_port}/udp"} if entry.udp_port else set())
    if entry.writes != "nothing":
        assert any(volume.endswith(":/data") for volume in service["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_everything_in_compose_is_contained(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not str(service["user"]).startswith("0")
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"]["max-size"]
    assert all(PUBLISHED.fullmatch(port) for port in service.get("ports", ()))


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "secrets"])
def test_nobody_has_the_key_of_another(name: str) -> None:
    parties = {"apply": "cli", "demo": "cli", "prometheus": None}
    mounted = [volume.split(":") for volume in SERVICES[name].get("volumes", ()) if volume.startswith("secrets")]
    party = parties.get(name, name)
    assert mounted == ([[f"secrets-{party}", "/run/framemesh", "ro"]] if party else [])


def test_secrets_are_handed_out_to_all_who_mount_some() -> None:
    handed = {volume.partition(":")[0] for volume in SERVICES["secrets"]["volumes"]}
    assert {name for name in COMPOSE["volumes"] if name.startswith("secrets")} <= handed
    folders = {volume.partition("/run/parties/")[2] for volume in SERVICES["secrets"]["volumes"]} - {""}
    made = set(re.findall(r"[a-z-]+", DOCKERFILE.partition("$(printf 'parties/%s ' \\\n")[2].partition(")")[0]))
    assert folders == made
