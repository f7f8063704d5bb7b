"""A mesh is saved, lost and made again from the file: with its credentials, its positions and all that it shall do."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.subjects import DESIRED_BUCKET, SECRETS_BUCKET
from shared.bus import Bus
from tests.support.mesh import RunningMesh

pytestmark = pytest.mark.integration

SOURCE = "test://?size=384x216&fps=10"


def test_a_mesh_is_lost_and_made_again(tmp_path: Path) -> None:
    file, bare = tmp_path / "mesh.backup", tmp_path / "bare.backup"
    destination = "rtmp://127.0.0.1:1/app/the-stream-key"
    with RunningMesh() as mesh:
        mesh.call("capture.start", stream="cam0", source=SOURCE)
        mesh.call("capture.start", stream="door", source="rtsp://me:hush@127.0.0.1:1/door", wait_s=0)
        mesh.call("publisher.start", stream="cam0", output="live", to=destination, wait_s=0)
        mesh.call("publisher.start", stream="cam0", output="archive", to="file://a.mp4")
        before = mesh.ask(_kept)
        told = json.loads(mesh.run("backup", str(bare), "--json").stdout)
        assert (told["without_secrets"], SECRETS_BUCKET in told["records"]) == (2, False)
        shown = mesh.run("backup", str(file), "--secrets").stdout
        assert "it holds credentials" in shown
        again = mesh.run("backup", str(file))
        assert (again.returncode, "is there already" in again.stderr) == (1, True)

        mesh.call("capture.stop", stream="cam0")
        mesh.call("capture.start", stream="extra", source=SOURCE)
        tried = mesh.run("restore", str(file), "--prune", "--dry-run", "--json")
        outcomes = {line["key"]: line["outcome"] for line in map(json.loads, tried.stdout.splitlines())}
        assert outcomes["capture.cam0"] == "created"
        assert outcomes["capture.extra"] == "removed"
        assert _state(mesh, "cam0") == "", "nothing was done"
        done = mesh.run("restore", str(file), "--prune")
        assert (done.returncode, done.stderr) == (0, "")
        mesh.wait_for(lambda: _state(mesh, "cam0") in ("live", "idle"), 10, "the stream that was stopped runs again")
        mesh.wait_for(lambda: _state(mesh, "extra") == "", 10, "what was not in the file has ended")
    with RunningMesh() as mesh:
        refused = mesh.run("restore", str(tmp_path / "none"))
        assert "error 404" in refused.stderr
        done = mesh.run("restore", str(file))
        assert (done.returncode, done.stderr) == (0, "")
        mesh.wait_for(lambda: _state(mesh, "cam0") in ("live", "idle"), 10, "it runs in the new mesh")
        after = mesh.ask(_kept)
        assert after.keys() == before.keys()
        for key, (spec, secret) in before.items():
            assert after[key][0].keys() == spec.keys()
            assert after[key][1] == secret, "the reference leads to the same secret, whatever its revision is now"
        assert before["publisher.cam0--live"][1] == destination
        assert "the-stream-key" not in mesh.run("status", "--json").stdout
        twice = mesh.run("restore", str(file))
        assert "changed" not in twice.stdout
        assert "created" not in twice.stdout


async def _kept(bus: Bus) -> dict[str, tuple[Any, str]]:
    """What is asked for, and the secret behind each."""
    secrets = await (await bus.bucket(SECRETS_BUCKET)).entries()
    found = {}
    for key, entry in (await (await bus.bucket(DESIRED_BUCKET)).entries()).items():
        spec = json.loads(entry.value)
        reference = next((value for name, value in spec.items() if name.endswith("_secret")), "")
        secret = secrets.get(reference.removeprefix("secret://").partition("@")[0])
        if secret is not None:
            assert reference.endswith(f"@{secret.revision}")
        found[key] = (spec, secret.value.decode() if secret else "")
    return found


def _state(mesh: RunningMesh, stream: str) -> str:
    actual = mesh.actual("streams", stream)
    return actual["state"] if actual else ""
