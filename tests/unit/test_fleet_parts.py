"""Containers of compose as the fleet sees them, from what Docker says of them."""

import copy
from typing import Any

import pytest

from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.fleet import LogLine
from services.launcher.fleet.compose_containers import Found, check_shares, is_of_service, project_of, replica
from services.launcher.fleet.container_figures import ContainerWatch, time_ns
from services.launcher.fleet.interface import check_scale
from services.launcher.fleet.log_text import bounded, read_cursor, write_cursor
from services.launcher.fleet.turn import Turn

ID = "0123456789abcdef0123456789abcdef"
LABELS = {
    "com.docker.compose.project": "line",
    "com.docker.compose.service": "capture",
    "com.docker.compose.container-number": "1",
    "com.docker.compose.config-hash": "beef",
    "com.docker.compose.replace": "feed",
    "com.docker.compose.oneoff": "False",
    "org.opencontainers.image.version": "1.2.3",
}
INSPECTED: dict[str, Any] = {
    "Id": ID,
    "Name": "/line-capture-1",
    "RestartCount": 2,
    "State": {"Status": "running", "Running": True, "ExitCode": 0, "Health": {"Status": "healthy"}},
    "Config": {
        "Hostname": ID[:12],
        "Image": "framemesh/capture:1",
        "Env": ["FRAMEMESH_INSTANCE=any", "FRAMEMESH_NODE=edge"],
        "Labels": LABELS,
        "Healthcheck": {"Test": ["CMD", "python", "-m", "shared.healthcheck"]},
    },
    "HostConfig": {"Binds": ["line_frames:/frames"], "PortBindings": {"9101/tcp": [{"HostPort": "9101"}]}},
    "NetworkSettings": {"Networks": {"line_default": {"Aliases": ["line-capture-1", "capture", ID[:12]]}}},
}


def found(**changes: Any) -> Found:
    inspected = copy.deepcopy(INSPECTED)
    for path, value in changes.items():
        part = inspected
        *folders, last = path.split("__")
        for name in folders:
            part = part[name]
        part[last] = value
    return Found(inspected)


def test_what_docker_says_of_one() -> None:
    one = found()
    assert (one.service, one.number, one.name, one.version) == ("capture", 1, "line-capture-1", "1.2.3")
    assert (one.state, one.health, one.running, one.trouble) == ("running", "ready", True, "")
    assert one.health_check == ["python", "-m", "shared.healthcheck"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Status": "exited", "Running": False, "ExitCode": 137}, ("stopped", "unknown", "exit status 137")),
        ({"Status": "exited", "Running": False, "ExitCode": 0}, ("stopped", "unknown", "")),
        ({"Status": "restarting", "Running": True}, ("restarting", "unknown", "")),
        (
            {"Status": "running", "Running": True, "Health": {"Status": "unhealthy", "Log": [{"Output": "no bus\n"}]}},
            ("running", "not-ready", "no bus"),
        ),
        ({"Status": "created", "Running": False, "Error": "no such device"}, ("stopped", "unknown", "no such device")),
    ],
)
def test_states(state: dict[str, Any], expected: tuple[str, str, str]) -> None:
    one = found(State=state)
    assert (one.state, one.health, one.trouble) == expected


def test_one_more_is_compose_s_own() -> None:
    model = found()
    name, config, networks = replica(model, 3)
    assert name == "line-capture-3"
    assert config["Labels"]["com.docker.compose.container-number"] == "3"
    assert config["Labels"]["com.docker.compose.config-hash"] == "beef"
    assert "com.docker.compose.replace" not in config["Labels"]
    assert "Hostname" not in config
    assert config["HostConfig"]["PortBindings"] == {}
    assert config["HostConfig"]["Binds"] == ["line_frames:/frames"]
    assert networks == {"line_default": {"Aliases": ["capture"], "Links": None, "DriverOpts": None}}
    assert model.inspected == INSPECTED, "the model is as it was"


@pytest.mark.parametrize(("name", "expected"), [("/line_capture_1", "line_capture_4"), ("/named", "named-4")])
def test_names_of_older_compose_and_of_people(name: str, expected: str) -> None:
    assert replica(found(Name=name), 4)[0] == expected


def test_a_host_name_of_its_own_stays() -> None:
    assert replica(found(Config__Hostname="edge7"), 2)[1]["Hostname"] == "edge7"


@pytest.mark.parametrize("environment", [["FRAMEMESH_NODE=edge"], ["FRAMEMESH_INSTANCE=1"], None])
def test_one_more_that_would_not_share_is_refused(environment: list[str] | None) -> None:
    with pytest.raises(BadRequest, match="FRAMEMESH_CAPTURE_INSTANCE is not 'any'"):
        check_shares(found(Config__Env=environment))


@pytest.mark.parametrize("name", ["FRAMEMESH_INSTANCE", "FRAMEMESH_CAPTURE_INSTANCE"])
def test_one_more_that_shares(name: str) -> None:
    check_shares(found(Config__Env=["FRAMEMESH_INSTANCE=any", f"{name}=any"]))


def listed(project: str, service: str, **labels: str) -> dict[str, Any]:
    own = {"com.docker.compose.project": project, "com.docker.compose.service": service, **labels}
    return {"Id": "1", "Labels": own}


def test_projects() -> None:
    ours, others = listed("line", "capture"), listed("shop", "database")
    assert project_of([ours, others], "") == "line"
    assert project_of([ours, listed("line2", "capture")], "line2") == "line2"
    with pytest.raises(BadRequest, match="line, line2; say which one"):
        project_of([ours, listed("line2", "capture")], "")
    with pytest.raises(NotFound, match=r"'shop' has no container of framemesh here; there are line"):
        project_of([ours, others], "shop")
    with pytest.raises(NotFound, match="docker compose up -d"):
        project_of([others], "")


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (listed("line", "capture"), True),
        (listed("line", "nats"), False),
        (listed("line", "capture", **{"com.docker.compose.oneoff": "True"}), False),
        ({"Id": "1", "Labels": None}, False),
    ],
)
def test_containers_of_services(container: dict[str, Any], expected: bool) -> None:
    assert is_of_service(container) is expected


def test_processor_time_and_memory() -> None:
    watch, start_ns = ContainerWatch(), 0
    stats: dict[str, Any] = {
        "cpu_stats": {"cpu_usage": {"total_usage": 10**9}},
        "memory_stats": {"usage": 90_000_000, "stats": {"inactive_file": 20_000_000}},
    }
    first = watch.look("a", stats, start_ns)
    assert first.rss_bytes == 70_000_000
    assert 0 <= first.cpu_percent < 0.1  # a second of work since 1970
    assert watch.look("a", stats, start_ns).cpu_percent == 0.0
    assert watch.look("b", {}, start_ns) == (0.0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-04T10:00:00.123456789Z", 1_777_888_800_123_456_789),
        ("2026-05-04T10:00:00Z", 1_777_888_800_000_000_000),
        ("2026-05-04T10:00:00.5Z", 1_777_888_800_500_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("soon", 0),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert time_ns(text) == expected


def test_a_reply_has_room_for_the_newest_lines() -> None:
    lines = [LogLine(instance=1, text=f"{number} {'x' * 2000}") for number in range(400)]
    told = bounded("capture", lines, "1:400")
    assert told.lines[-1] == lines[-1]
    assert told.left_out == 400 - len(told.lines) > 0
    assert bounded("capture", lines[:5], "").left_out == 0


def test_places_in_logs() -> None:
    assert read_cursor(write_cursor({2: "17", 1: "5"})) == {1: "5", 2: "17"}
    assert read_cursor("") == {}
    with pytest.raises(InvalidValue, match="after 'x:1'"):
        read_cursor("x:1")


def test_changes_take_turns() -> None:
    turn = Turn()
    with (
        turn.take("scale capture"),
        pytest.raises(Exception, match="stop: scale capture is under way"),
        turn.take("stop"),
    ):
        pass
    with turn.take("stop"):
        pass


@pytest.mark.parametrize(
    ("service", "instances", "words"),
    [
        ("kapture", 1, "service 'kapture': there are capture, "),
        ("io-signal", 2, "instances 2: io-signal runs once on a node; capture, hw-encode, frame-extractor share"),
        ("capture", 33, "instances 33: at most 32 of capture"),
    ],
)
def test_what_cannot_be_scaled(service: str, instances: int, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        check_scale(service, instances)
