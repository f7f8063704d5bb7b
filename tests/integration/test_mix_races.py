"""Mixes that are changed at the wrong moment, stand still, are killed in a change, or start without a logo's server."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.mesh import CallFailed
from tests.support.mix_node import MixNode, PictureServer
from tests.support.nats import NatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

PASSWORD = "pa55-of-a-logo"
BOX = {"x": 0, "y": 0, "width": 64, "height": 36}
INPUT = {"input": "a", "source": "mesh://a"}


def wall(*logos: str, mix: str = "wall", **changes: Any) -> dict[str, Any]:
    """A mix of one stream."""
    spec = {"mix": mix, "size": "320x180", "inputs": [INPUT], "wait_s": 15, **changes}
    return {**spec, "logos": [{"source": logo, "box": BOX} for logo in logos]}


@pytest.fixture(scope="module")
def node() -> Iterator[MixNode]:
    with NatsServer() as nats, MixNode.running(nats, still_seconds="0.5", max_mixes="2") as running:
        running.call("capture.start", stream="a", source="test://?size=640x360")
        yield running


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    with PictureServer() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(node: MixNode) -> Iterator[None]:
    yield
    for entry in node.call("cloud-mix-proxy.list")["mixes"]:
        node.call("cloud-mix-proxy.delete", mix=entry["spec"]["mix"], wait_s=10)
    node.wait_for(lambda: node.streams() == {"a"})
    assert node.mixers() == []
    node.wait_for(lambda: not list(node.data_dir.glob("mixes/*")))


def create(node: MixNode, **spec: Any) -> Any:
    done = node.call("cloud-mix-proxy.create", **spec)
    assert done["actual"]["state"] == "running"
    return done


def test_what_a_logo_is_refused_for_has_no_password(node: MixNode, pictures: PictureServer) -> None:
    create(node, **wall())
    with pytest.raises(CallFailed, match="not a png") as refused:
        node.call("cloud-mix-proxy.update", **wall(pictures.url("/broken.png", f"bob:{PASSWORD}@")))
    assert "logos.0.source" in str(refused.value)
    said = str(refused.value) + str(node.mix("wall")) + node.log.read_text()
    assert PASSWORD not in said


def test_changes_all_the_time_do_not_keep_it_from_its_start(node: MixNode) -> None:
    node.call("cloud-mix-proxy.create", **wall(wait_s=0))
    revision, gap = 0, 0

    def change() -> bool:
        nonlocal revision, gap
        gap += 1
        revision = node.call("cloud-mix-proxy.update", **wall(gap=gap % 200, wait_s=0))["revision"]
        return bool(node.mix("wall").get("applied_revision"))

    node.wait_for(change, 6)
    node.wait_for(lambda: node.mix("wall")["applied_revision"] == revision)
    assert node.mix("wall")["restarts"] == 0


def test_one_that_is_killed_in_a_change_shows_the_change(node: MixNode) -> None:
    create(node, **wall())
    [killed] = node.mixers()
    os.kill(killed, signal.SIGSTOP)  # the layout is under way
    asked = node.call("cloud-mix-proxy.update", **wall(background="#102030", wait_s=0))["revision"]
    os.kill(killed, signal.SIGKILL)
    node.wait_for(lambda: node.mix("wall")["applied_revision"] == asked)
    assert (node.mix("wall")["state"], node.mix("wall")["error"]) == ("running", None)


def test_the_service_killed_shows_what_was_seen_without_the_server_of_its_logo(
    node: MixNode, pictures: PictureServer
) -> None:
    seen = create(node, **wall(pictures.url("/logo.png")))["revision"]
    with pytest.raises(CallFailed, match="not a png"):
        node.call("cloud-mix-proxy.update", **wall(pictures.url("/logo.png"), pictures.url("/broken.png")))
    assert pictures.asked == 2, "a picture is fetched once"
    [kept] = (node.data_dir / "mixes" / "wall").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    pictures.end()
    for _ in range(2):  # and once more before it is seen again
        node.kill()
        node.start("cloud_mix_proxy")
    actual = node.wait_for(lambda: (now := node.mix("wall"))["state"] == "running" and now)
    assert actual["applied_revision"] == seen < actual["revision"]
    assert "logos.1.source" in actual["error"]["message"]
    # What other rules forbid is not shown because it was there once.
    with pytest.raises(CallFailed, match="this machine"):
        node.call("cloud-mix-proxy.update", **wall(pictures.url("/logo.png"), public_only=True))
    # Killed in a change to what can be shown.
    asked = node.call("cloud-mix-proxy.update", **wall(pictures.url("/logo.png"), gap=2, wait_s=0))["revision"]
    node.kill()
    # A picture that the disk has lost a part of is not used, and its server is gone.
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    node.start("cloud_mix_proxy")
    failed = node.wait_for(lambda: (now := node.mix("wall")).get("error") and now)
    assert "logos.0.source" in failed["error"]["message"]
    kept.write_bytes(whole)
    node.wait_for(lambda: node.mix("wall")["applied_revision"] == asked)
    # Killed when it was to end: what it had made goes all the same.
    node.call("cloud-mix-proxy.delete", mix="wall", wait_s=0)
    node.kill()
    node.start("cloud_mix_proxy")


def test_deleted_or_refused_while_it_starts_it_leaves_nothing(node: MixNode, pictures: PictureServer) -> None:
    node.call("cloud-mix-proxy.create", **wall(pictures.url("/silent.png"), wait_s=0))
    node.call("cloud-mix-proxy.delete", mix="wall", wait_s=5)
    clip = {"input": "clip", "source": "test://?size=640x360"}
    taken = {"input": "taken", "source": "file://nowhere.mp4?loop=1"}
    with pytest.raises(CallFailed):
        node.call("cloud-mix-proxy.create", **wall(mix="torn", inputs=[clip, taken], public_only=True))
    node.wait_for(lambda: node.streams() == {"a"})


def test_of_two_nodes_it_is_made_where_its_pictures_are(node: MixNode, pictures: PictureServer) -> None:
    logo_only = [{"input": "x", "source": pictures.url("/x.png")}]
    there = {"input": "there", "source": "mesh://there"}
    with MixNode.running(node.nats, "other") as other:
        other.call("capture.start", stream="there", source="test://?size=640x360", node="other")
        for changes, code, words in (
            ({"inputs": [INPUT, there]}, 400, "inputs.1.source 'mesh://there': its pictures are on node other"),
            ({"inputs": [INPUT], "node": "other"}, 400, "node 'other': the pictures of its inputs are on node test"),
            ({"inputs": logo_only}, 400, "node missing: cloud-mix-proxy runs on other, test"),
            ({"inputs": logo_only, "node": "nowhere"}, 503, "no cloud-mix-proxy runs there; it runs on other, test"),
        ):
            with pytest.raises(CallFailed) as refused:
                node.call("cloud-mix-proxy.create", **wall(**changes))
            assert (refused.value.code, words in str(refused.value)) == (code, True), refused.value
        done = create(node, **wall(inputs=[there]))
        assert done["actual"]["node"] == "other"
        assert (len(node.mixers()), len(other.mixers())) == (0, 1)
        # Deleted, and made at once again elsewhere: what the one takes back is not what the other has made.
        node.call("cloud-mix-proxy.delete", mix="wall", wait_s=0)
        again = node.call("cloud-mix-proxy.create", **wall())
        assert (again["actual"]["node"], again["actual"]["state"]) == ("test", "running")
        other.wait_for(lambda: other.mixers() == [])
        assert "wall" in node.streams()
        node.call("capture.stop", stream="there")


def test_one_ends_while_it_is_changed_and_one_is_too_many(node: MixNode, pictures: PictureServer) -> None:
    create(node, **wall(mix="stays"))
    create(node, **wall(end_after="300ms"))
    with pytest.raises(CallFailed, match="MAX_MIXES") as refused:
        node.call("cloud-mix-proxy.create", **wall(mix="third"))
    assert refused.value.code == 429
    # Its logo takes its time to be refused: by then the mix has ended, and there is room.
    with pytest.raises(CallFailed):
        node.call("cloud-mix-proxy.update", **wall(pictures.url("/silent.png"), end_after="30m"))
    node.wait_for(lambda: node.mix("third").get("state") == "running", 5)
    node.call("cloud-mix-proxy.delete", mix="third")
    done = node.call("cloud-mix-proxy.update", **wall(end_after="30m"))
    assert done["actual"]["state"] == "running"
    assert done["actual"]["applied_revision"] == done["revision"]
