"""The fleet of `framemesh up`: looked at, scaled, restarted, stopped, while streams go on."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.mesh import CallFailed, RunningMesh

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CAMERAS = [f"cam{number}" for number in range(4)]


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        for camera in CAMERAS:
            running.call("capture.start", stream=camera, source="test://?size=640x360&fps=10", wait_s=0)
        yield running


def fleet(mesh: RunningMesh, verb: str, **request: Any) -> Any:
    return mesh.call(f"fleet.test.{verb}", **request)


def running(listed: Any) -> list[int]:
    return [member["instance"] for member in listed["members"] if member["state"] == "running"]


def owners(mesh: RunningMesh) -> dict[str, tuple[int, int]]:
    """By camera that is live: which instance has it, and which writer of its ring that is."""
    actuals = {entry["spec"]["stream"]: entry.get("actual") or {} for entry in mesh.status()["streams"]}
    return {
        camera: (actuals[camera]["instance"], actuals[camera]["epoch"])
        for camera in CAMERAS
        if actuals[camera].get("state") == "live"
    }


def goes_on(mesh: RunningMesh, camera: str, before_ns: int) -> bool:
    try:
        stats = mesh.call(f"capture.{camera}.stats")
    except CallFailed:  # its last owner has just gone
        return False
    return bool(stats["last_frame_ns"] > before_ns)


def spread(mesh: RunningMesh, instances: int) -> dict[str, tuple[int, int]]:
    """Wait until the cameras are shared evenly, and the pictures of all go on."""

    def even() -> dict[str, tuple[int, int]] | None:
        now = owners(mesh)
        owned = [instance for instance, _ in now.values()]
        sizes = sorted(owned.count(instance) for instance in set(owned))
        whole = len(now) == len(CAMERAS) and len(sizes) == instances
        return now if whole and sizes[-1] - sizes[0] <= 1 else None

    found: dict[str, tuple[int, int]] = mesh.wait_for(even, 15, f"{instances} instances share the cameras")
    now_ns = time.time_ns()
    for camera in CAMERAS:
        mesh.wait_for(lambda camera=camera: goes_on(mesh, camera, now_ns), 5, f"a picture of {camera}")
    return found


def test_what_runs(mesh: RunningMesh) -> None:
    listed = fleet(mesh, "ps")
    assert (listed["node"], listed["backend"]) == ("test", "processes")
    assert {member["service"] for member in listed["members"]} == set(mesh.ready["metrics"])
    for member in listed["members"]:
        assert (member["state"], member["health"], member["detail"]) == ("running", "ready", ""), member
        assert member["pid"] == mesh.pids()[member["service"]]
        assert member["rss_bytes"] > 10_000_000
        assert member["version"] == mesh.status()["services"][0]["version"]


def test_one_capture_for_each_camera_and_back(mesh: RunningMesh) -> None:
    before = spread(mesh, 1)
    scaled = fleet(mesh, "scale", service="capture", instances=4, by="somebody@desk")
    assert running(scaled) == [1, 2, 3, 4]
    shared = spread(mesh, 4)
    moved = [camera for camera in CAMERAS if shared[camera][1] != before[camera][1]]
    assert len(moved) == 3, "who had all keeps one"
    present = [one for one in mesh.status()["services"] if one["service"] == "capture"]
    assert sorted(one["number"] for one in present) == [1, 2, 3, 4]
    assert len({one["metrics_url"] for one in present}) == 4
    # One dies: the others' pictures go on in the same rings, its own are back with its number.
    victim = next(member for member in scaled["members"] if member["instance"] == 3)
    os.kill(victim["pid"], signal.SIGKILL)
    mesh.wait_for(lambda: running(fleet(mesh, "ps", service="capture")) == [1, 2, 3, 4], 10, "it is back")
    mine = next(camera for camera in CAMERAS if shared[camera][0] == 3)
    mesh.wait_for(lambda: owners(mesh).get(mine, (0, 0))[1] > shared[mine][1], 15, "a new writer")
    again = spread(mesh, 4)
    assert again[mine] > shared[mine], "a new writer, in the same place"
    assert again[mine][0] == 3
    for camera in set(CAMERAS) - {mine}:
        assert again[camera] == shared[camera]
    assert running(fleet(mesh, "scale", service="capture", instances=1)) == [1]
    spread(mesh, 1)


def test_restart(mesh: RunningMesh) -> None:
    before = fleet(mesh, "ps", service="hw-encode")["members"][0]
    now = fleet(mesh, "restart", service="hw-encode")["members"][0]
    assert now["pid"] != before["pid"]
    assert now["started_ns"] > before["started_ns"]
    assert now["restarts"] == before["restarts"] + 1
    assert now["health"] == "ready"


def test_more_workers_on_the_queue(mesh: RunningMesh) -> None:
    assert running(fleet(mesh, "scale", service="frame-extractor", instances=2)) == [1, 2]
    lines = fleet(mesh, "logs", service="frame-extractor", instance=2, tail=50)["lines"]
    assert any("ready on node test" in line["text"] for line in lines)
    assert {line["instance"] for line in lines} == {2}
    assert running(fleet(mesh, "scale", service="frame-extractor", instances=1)) == [1]


def test_logs_go_on(mesh: RunningMesh) -> None:
    tail = fleet(mesh, "logs", service="capture", tail=2)
    assert len(tail["lines"]) == 2
    mesh.call("capture.start", stream="late", source="test://?size=640x360&fps=5")
    new = fleet(mesh, "logs", service="capture", after=tail["next"], wait_s=5)
    assert any("late: " in line["text"] for line in new["lines"])
    mesh.call("capture.stop", stream="late")
    assert fleet(mesh, "logs", service="capture", tail=0)["lines"] == []


def test_the_fleet_answers_while_a_service_hangs(mesh: RunningMesh) -> None:
    pid = mesh.pids()["io-signal"]
    os.kill(pid, signal.SIGSTOP)
    try:
        (hung,) = fleet(mesh, "ps", service="io-signal")["members"]
        assert (hung["state"], hung["health"]) == ("running", "not-ready")
        assert "no answer" in hung["detail"]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_stop_and_start(mesh: RunningMesh) -> None:
    stopped = fleet(mesh, "stop", service="cloud-mix-proxy")
    assert [member["state"] for member in stopped["members"]] == ["stopped"]
    assert "cloud-mix-proxy" not in mesh.pids()
    assert running(fleet(mesh, "start", service="cloud-mix-proxy")) == [1]


@pytest.mark.parametrize(
    ("verb", "request_", "code", "words"),
    [
        ("scale", {"service": "publisher", "instances": 2}, 400, "instances 2: publisher runs once on a node"),
        ("scale", {"service": "capture", "instances": 33}, 400, "instances 33: at most 32"),
        ("scale", {"service": "capture", "instances": -1}, 400, "instances"),
        ("scale", {"service": "cameras", "instances": 2}, 400, "service 'cameras': there are capture, "),
        ("restart", {"service": "capture", "instance": 9}, 404, "instance 9 of capture does not run on node test"),
        ("stop", {}, 400, '"all": true'),
        ("stop", {"service": "capture", "all": True}, 400, '"all": true'),
        ("logs", {"service": "capture", "after": "here"}, 400, "after 'here'"),
        ("logs", {"service": "capture", "after": "1:x"}, 400, "after 'x'"),
        ("logs", {"service": "capture", "tail": 5000}, 400, "tail"),
    ],
)
def test_refusals(mesh: RunningMesh, verb: str, request_: dict[str, Any], code: int, words: str) -> None:
    with pytest.raises(CallFailed) as refused:
        fleet(mesh, verb, **request_)
    assert refused.value.code == code
    assert words in refused.value.message


def test_who_did_it_is_told(mesh: RunningMesh) -> None:
    fleet(mesh, "restart", service="io-signal", by="somebody@desk")
    _, kept = mesh.ask(lambda bus: bus.kept_events(0, 1000))
    told = [json.loads(message.data) for message in kept if message.subject == "mesh.v1.evt.fleet.test.restarted"]
    assert told[-1]["detail"] == {"service": "io-signal", "by": "somebody@desk"}
    assert told[-1].get("error") is None


def test_the_command_line(mesh: RunningMesh) -> None:
    shown = mesh.run("fleet", "ps")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split()[:4] == ["NAME", "NODE", "STATE", "HEALTH"]
    assert len(shown.stdout.splitlines()) == 1 + len(mesh.ready["metrics"])
    done = mesh.run("fleet", "restart", "io-signal", "--json")
    assert running(json.loads(done.stdout)) == [1]
