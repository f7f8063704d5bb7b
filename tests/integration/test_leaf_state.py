"""What a hub and a leaf know of each other: two nats-servers on this machine, and the keeper between them."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from schemas.buckets import form_of
from schemas.errors import Conflict, InvalidValue, Unavailable
from schemas.subjects import (
    ACTUAL_BUCKET,
    CLAIM_BUCKET,
    DEMAND_BUCKET,
    DESIRED_BUCKET,
    EPOCH_BUCKET,
    JOBS_CONSUMER,
    JOBS_STREAM,
    PRESENCE_BUCKET,
    SECRETS_BUCKET,
    job_tasks,
)
from services.launcher.nats_leaf import SEED_VARIABLE, HubServer, LeafServer, hub_lines, leaf_lines, leaf_permissions
from shared.bus import Bucket, Bus, Mirror
from shared.leaf.keeper import check_node, keep_in_step
from shared.nkey import new_seed, public_key
from shared.tasks import end_tasks
from tests.support.nats import NatsServer
from tests.support.pace import patience
from tests.support.peers import free_port

NODE = "edge1"
HUB_BUCKETS = (DESIRED_BUCKET, SECRETS_BUCKET, ACTUAL_BUCKET, PRESENCE_BUCKET, DEMAND_BUCKET, CLAIM_BUCKET)
STEP_SECONDS = 6.0  # a leaf looks for its hub every second


class Rig:
    def __init__(self, folder: Path, seed: str) -> None:
        self.logs: dict[str, Path] = {}
        link = f"127.0.0.1:{free_port()}"
        domain, lines = hub_lines(HubServer(listen=link))
        users = [
            {"user": "hub", "password": "hub"},
            {"nkey": public_key(seed), "permissions": leaf_permissions()},
        ]
        self.hub = self._server(folder, "hub", domain, f"{lines}authorization {json.dumps({'users': users})}\n")
        leaf = LeafServer(node=NODE, hubs=(f"nats-leaf://{link}",), with_seed=True)
        self.leaf = self._server(folder, "leaf", *leaf_lines(leaf))
        self.on_hub: Bus
        self.on_leaf: Bus

    def _server(self, folder: Path, name: str, domain: str, lines: str) -> NatsServer:
        path = folder / f"{name}.conf"
        path.write_text(f'jetstream {{ domain: "{domain}" }}\n{lines}')
        self.logs[name] = folder / f"{name}.log"
        return NatsServer("-c", str(path), "-l", str(self.logs[name]))


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    seed = new_seed()
    monkeypatch.setenv(SEED_VARIABLE, seed)
    rig = Rig(tmp_path, seed)
    with rig.hub, rig.leaf:
        rig.on_hub = await Bus.connect(rig.hub.url.replace("//", "//hub:hub@"), name="hub", timeout_seconds=5)
        rig.on_leaf = await Bus.connect(rig.leaf.url, name="leaf", timeout_seconds=5)
        for name in HUB_BUCKETS:  # which leaves may not make
            await rig.on_hub.bucket(name, msgspec.structs.replace(form_of(name), direct=False))  # as in a locked hub
        keeper = asyncio.create_task(keep_in_step(rig.on_leaf, NODE, tmp_path / "shm"))
        try:
            yield rig
            assert not keeper.done(), keeper
            for log in rig.logs.values():
                assert "Violation" not in log.read_text()
        finally:
            await end_tasks(keeper)
            await asyncio.gather(rig.on_hub.drain(), rig.on_leaf.drain())


async def opened(bus: Bus, name: str) -> Bucket:
    return await bus.bucket(name)


@contextlib.asynccontextmanager
async def followed(bus: Bus, name: str) -> AsyncIterator[Mirror]:
    mirror = Mirror(await opened(bus, name))
    try:
        await mirror.synced()
        yield mirror
    finally:
        await mirror.close()


async def until(condition: Callable[[], bool], seconds: float = STEP_SECONDS) -> None:
    async with patience(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def values(mirror: Mirror) -> dict[str, bytes]:
    return {key: entry.value for key, entry in mirror.entries.items()}


def state(node: str, revision: int = 1, name: str = "live") -> bytes:
    return json.dumps({"stream": "cam0", "node": node, "revision": revision, "state": name}).encode()


async def test_whose_leaf_a_server_is(rig: Rig) -> None:
    assert (rig.on_hub.leaf_of, rig.on_leaf.leaf_of) == (None, NODE)
    assert not rig.on_leaf.clustered
    check_node(rig.on_leaf, NODE)
    check_node(rig.on_hub, "whatever")
    with pytest.raises(InvalidValue, match=r"FRAMEMESH_NODE 'edge2'.*leaf of node 'edge1'"):
        check_node(rig.on_leaf, "edge2")


async def test_what_is_asked_for(rig: Rig) -> None:
    there, here = await opened(rig.on_hub, DESIRED_BUCKET), await opened(rig.on_leaf, DESIRED_BUCKET)
    async with followed(rig.on_leaf, DESIRED_BUCKET) as copy:
        await there.put("capture.a", b"one")
        second = await there.put("capture.a", b"two")
        await until(lambda: values(copy) == {"capture.a": b"two"})
        assert copy.entries["capture.a"].revision == second, "revisions are the hub's"
        # Changed from the leaf, by compare-and-set on the hub.
        third = await here.update("capture.a", b"three", second)
        with pytest.raises(Conflict):
            await here.update("capture.a", b"lost", second)
        assert await there.get("capture.a") == await here.get("capture.a") == await here.newest("capture.a")
        assert (await here.get("capture.a", second)) == ("capture.a", b"two", second), "the hub has earlier ones"
        secrets = await opened(rig.on_hub, SECRETS_BUCKET)
        kept = await secrets.put("capture.a", b"rtsp://user:password@camera")
        secret_here = await opened(rig.on_leaf, SECRETS_BUCKET)
        await until(lambda: copy.entries["capture.a"].revision == third)
        await until_copied(rig, SECRETS_BUCKET)

        await on_hub_too(rig)
        queue = await rig.on_leaf.work_queue(
            JOBS_STREAM, job_tasks(), JOBS_CONSUMER, give_up_seconds=1, max_items=2, max_age_seconds=60
        )
        rig.hub.kill()
        assert await here.get("capture.a") == ("capture.a", b"three", third)
        assert await secret_here.get("capture.a", kept) == ("capture.a", b"rtsp://user:password@camera", kept)
        with pytest.raises(Unavailable, match="cut off from its hub"):
            await secret_here.get("capture.a", kept + 1)
        for change in (here.put("capture.b", b""), here.update("capture.a", b"", third), here.delete("capture.a")):
            with pytest.raises(Unavailable, match=r"cut off from its hub.*capture\.[ab] cannot be changed.*try again"):
                await change
        assert values(copy) == {"capture.a": b"three"}
        claims = await opened(rig.on_leaf, CLAIM_BUCKET)
        with pytest.raises(Unavailable, match="cut off from its hub, which keeps mesh_claims"):
            await claims.get("cam0")
        with pytest.raises(Unavailable, match="cut off from its hub, which keeps mesh_jobs_queue: the job was not"):
            await queue.put("one", b"")
        epochs = await opened(rig.on_leaf, EPOCH_BUCKET)
        assert await epochs.put("cam0", b"1") > 0, "who starts a stream again needs no hub"

        # Another hub, with another store: whatever it says is asked for.
        shutil.rmtree(rig.hub.folder)
        rig.hub.start()
        await until(lambda: rig.on_hub.connected)
        again = await opened(rig.on_hub, DESIRED_BUCKET)
        await again.open()
        newest = await again.put("capture.a", b"anew")
        assert newest < third
        await until(lambda: values(copy) == {"capture.a": b"anew"})
        await again.delete("capture.a")
        await until(lambda: not copy.entries)


async def on_hub_too(rig: Rig) -> None:
    """The queue of jobs, which leaves may not make."""
    await rig.on_hub.work_queue(
        JOBS_STREAM, job_tasks(), JOBS_CONSUMER, give_up_seconds=1, max_items=2, max_age_seconds=60
    )


async def until_copied(rig: Rig, name: str) -> None:
    """The leaf's copy is complete: no more than the hub's are in it, by their number."""
    there = await (await opened(rig.on_hub, name)).entries()
    bucket = await opened(rig.on_leaf, name)
    async with patience(STEP_SECONDS):
        while await bucket.entries() != there:
            await asyncio.sleep(0.02)


async def test_what_is(rig: Rig) -> None:
    there, here = await opened(rig.on_hub, ACTUAL_BUCKET), await opened(rig.on_leaf, ACTUAL_BUCKET)
    left_behind = "capture.gone"
    await there.put(left_behind, state(NODE))
    async with followed(rig.on_hub, ACTUAL_BUCKET) as seen_there, followed(rig.on_leaf, ACTUAL_BUCKET) as seen_here:
        await here.put("capture.ours", state(NODE))
        await here.put("capture.odd", b"no JSON")
        await there.put("capture.theirs", state("hub"))
        both = {"capture.ours": state(NODE), "capture.theirs": state("hub")}
        await until(lambda: values(seen_there) == both)
        await until(lambda: values(seen_here) == both)
        # A stream that goes to another host: its last word here must not go over the first one there.
        await there.put("capture.ours", state("hub", 2))
        await asyncio.sleep(0.2)
        assert values(seen_there)["capture.ours"] == state("hub", 2)
        await here.delete("capture.ours")
        await until(lambda: values(seen_here)["capture.ours"] == state("hub", 2))
        await here.put("capture.ours", state(NODE, 3))
        await until(lambda: values(seen_there)["capture.ours"] == state(NODE, 3))

        rig.hub.kill()
        await here.put("capture.ours", state(NODE, 3, "stalled"))
        await here.put("capture.new", state(NODE, 3))
        rig.hub.start()
        now = {"capture.ours": state(NODE, 3, "stalled"), "capture.new": state(NODE, 3), "capture.theirs": state("hub")}
        await until(lambda: values(seen_there) == now)
        rig.hub.kill()
        await here.delete("capture.ours")
        rig.hub.start()
        del now["capture.ours"]
        await until(lambda: values(seen_there) == now)
        assert values(seen_here) == now


async def test_who_needs_what(rig: Rig) -> None:
    there, here = await opened(rig.on_hub, DEMAND_BUCKET), await opened(rig.on_leaf, DEMAND_BUCKET)
    async with followed(rig.on_hub, DEMAND_BUCKET) as seen_there, followed(rig.on_leaf, DEMAND_BUCKET) as seen_here:
        for bucket, key in (
            (here, f"{NODE}.cam0.raw.own"),
            (here, "hub.cam1.main.edge"),
            (here, "other.cam2.main.edge"),
        ):
            await bucket.put(key, b"")
        for key in (f"{NODE}.cam0.main.viewer", "hub.cam1.main.viewer"):
            await there.put(key, b"")
        ours = {f"{NODE}.cam0.raw.own", "hub.cam1.main.edge", "other.cam2.main.edge", f"{NODE}.cam0.main.viewer"}
        await until(lambda: set(seen_here.entries) == ours)
        others = {f"{NODE}.cam0.main.viewer", "hub.cam1.main.viewer", "hub.cam1.main.edge", "other.cam2.main.edge"}
        await until(lambda: set(seen_there.entries) == others)
        await there.delete(f"{NODE}.cam0.main.viewer")
        await here.delete("hub.cam1.main.edge")
        await until(lambda: f"{NODE}.cam0.main.viewer" not in seen_here.entries)
        await until(lambda: "hub.cam1.main.edge" not in seen_there.entries)
