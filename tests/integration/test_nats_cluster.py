"""Three nats-servers: state is kept by all of them, and goes on when one is lost."""

import asyncio
import contextlib
import dataclasses
import io
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from schemas.buckets import BucketForm
from schemas.errors import Conflict, InvalidValue, Unavailable
from schemas.queues import QUEUES
from schemas.subjects import AUDIT_STREAM, EVENTS_STREAM
from services.cli.__main__ import main
from shared.bus import Bus, Mirror
from shared.epochs import next_epoch
from shared.settings import Settings, load_settings
from tests.support.bare_service import bare_service
from tests.support.nats import NatsServer
from tests.support.nats_certificates import certificates
from tests.support.nats_cluster import Member, NatsCluster
from tests.support.pace import Patience, slowness
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

ELECTION_SECONDS = 9.5  # nats-server chooses a new leader 4 to 9 s after the old one was heard
BACK_SECONDS = 4.0  # two heartbeats of a watch that are missed, and one look more


@pytest.fixture(scope="module")
def cluster() -> Iterator[NatsCluster]:
    with NatsCluster() as running:
        yield running


async def connected(cluster: NatsCluster, first: int = 0, replicas: int = 3) -> Bus:
    return await Bus.connect(cluster.urls(first), name="test", timeout_seconds=10, replicas=replicas)


async def kept_by(bus: Bus, stream: str) -> int | None:
    info = await bus._client.jetstream().stream_info(stream)
    return info.config.num_replicas


async def test_buckets_get_the_replicas_that_are_set(cluster: NatsCluster) -> None:
    alone = await connected(cluster, replicas=1)
    three = await connected(cluster, 1)
    try:
        await (await alone.bucket("grown")).put("a", b"1")
        await alone.bucket("memory", BucketForm(memory=True))
        assert await kept_by(alone, "KV_grown") == 1
        bucket = await three.bucket("grown")
        await three.bucket("memory", BucketForm(memory=True))
        await three.ensure_events()
        for stream in ("KV_grown", "KV_memory", "mesh_events"):
            assert await kept_by(three, stream) == 3, stream
        found = await bucket.get("a")
        assert found is not None
        assert found.value == b"1"
        await (await connected(cluster, replicas=1)).bucket("grown")
        assert await kept_by(three, "KV_grown") == 3, "never fewer"
    finally:
        await asyncio.gather(alone.drain(), three.drain())


async def test_more_replicas_than_servers_are_refused(cluster: NatsCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with NatsServer() as single:
        alone = await Bus.connect(single.url, name="test", timeout_seconds=5, replicas=3)
        began = time.monotonic()
        with pytest.raises(InvalidValue, match=r"FRAMEMESH_NATS_REPLICAS 3: this nats-server is of no cluster"):
            await alone.bucket("any")
        with pytest.raises(InvalidValue, match=r"FRAMEMESH_NATS_REPLICAS 3: this nats-server is of no cluster"):
            await alone.ensure_events()
        assert time.monotonic() - began < 2 * slowness(), "it does not wait for what will not come"
        await alone.drain()
    monkeypatch.setattr("shared.bus.jetstream_ready._START_ATTEMPTS", 3)  # others could come for 5 s
    bus = await connected(cluster, replicas=5)
    with pytest.raises(InvalidValue, match=r"FRAMEMESH_NATS_REPLICAS 5: the cluster has fewer servers"):
        await bus.bucket("five")
    await bus.drain()


async def test_who_changes_state_has_the_newest(cluster: NatsCluster) -> None:
    """Written at one server, read at another, again and again: no answer may be a moment old."""
    buses = [await connected(cluster, first) for first in range(3)]
    try:
        assert [bus._client.connected_url.port for bus in buses] == [m.client_port for m in cluster.members]
        buckets = [await bus.bucket("turns", BucketForm(history=5)) for bus in buses]
        revision = 0
        for turn in range(150):
            entry = await buckets[turn % 3].newest("key")
            assert (entry.revision if entry else 0) == revision
            if turn % 10 == 9:
                await buckets[turn % 3].delete("key", revision)
                assert await buckets[(turn + 1) % 3].newest("key") is None
                revision = 0
                continue
            revision = await buckets[turn % 3].update("key", b"%d" % turn, revision)
        with pytest.raises(Conflict):
            await buckets[0].update("key", b"late", 1)
        epochs = [await next_epoch(bus, "cam0") for bus in buses * 5]
        assert epochs == sorted(set(epochs))
    finally:
        await asyncio.gather(*(bus.drain() for bus in buses))


@pytest.mark.alone
@pytest.mark.long
async def test_the_leader_is_killed(cluster: NatsCluster) -> None:
    first = await connected(cluster)
    await first.bucket("lost", BucketForm(history=5))
    leader = await cluster.leader("KV_lost")
    at = cluster.members.index(leader)
    # One whose server is lost, and one whose server is there while the one that keeps its state is not.
    buses = [await connected(cluster, at), await connected(cluster, (at + 1) % 3)]
    mirrors = []
    try:
        buckets = [await bus.bucket("lost", BucketForm(history=5)) for bus in buses]
        mirrors = [Mirror(bucket) for bucket in buckets]
        for mirror in mirrors:
            await mirror.synced()
        await buckets[1].put("before", b"1")
        leader.kill()
        began = time.monotonic()
        put = await asyncio.gather(*(bucket.put(f"after-{n}", b"1") for n, bucket in enumerate(buckets)))
        took = time.monotonic() - began
        seen = await asyncio.gather(
            *(mirror.wait_for(lambda entries: {"after-0", "after-1"} <= entries.keys(), 10) for mirror in mirrors)
        )
        late = time.monotonic() - began - took
        print(f"written {took:.1f} s after the kill, seen {late:.1f} s later")
        assert all(put)
        assert took < ELECTION_SECONDS * slowness()
        assert seen == [True, True]
        assert late < BACK_SECONDS * slowness()
    finally:
        await asyncio.gather(*(mirror.close() for mirror in mirrors), first.drain(), *(bus.drain() for bus in buses))
        cluster.start(leader)


@pytest.mark.alone
@pytest.mark.long
async def test_most_servers_are_lost(cluster: NatsCluster) -> None:
    """The one that is left takes no change, and says so; nothing that it was told is there afterwards."""
    bus = await connected(cluster, 2)
    bucket = await bus.bucket("few", BucketForm(history=5))
    revision = await bucket.put("key", b"before")
    others = cluster.members[:2]
    try:
        for member in others:
            member.kill()
        with pytest.raises(Unavailable, match="few"):
            await bucket.update("key", b"alone", revision)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await bucket.newest("key")
        assert time.monotonic() - began < ELECTION_SECONDS * slowness()
    finally:
        cluster.start(*others)
    patience = Patience(20)
    while True:
        try:
            found = await bucket.newest("key")
            break
        except Unavailable:
            assert not patience.is_over(), "the bucket is back"
    assert found is not None
    assert found.value in (b"before", b"alone"), "one truth, whichever"
    await bus.drain()


def test_a_party_opens_no_route(tmp_path: Path) -> None:
    """Every party has a certificate of the same CA; only the servers' own make a route."""
    made = certificates(tmp_path, "server", "console")
    with NatsCluster(tls=made.route("server")) as cluster:
        member = Member("n9", cluster.folder, "127.0.0.1", free_port(), free_port())
        mine = f"{member.host}:{member.route_port}"
        # It takes the servers' key, but has only its own.
        pinned = dataclasses.replace(made.route("console"), keys=made.route("server").keys)
        member.start([*cluster.routes, mine], pinned)
        try:
            patience = Patience(10)
            while not any("certificate not pinned" in one.log for one in cluster.members):
                assert not patience.is_over(), member.log
                time.sleep(0.1)
        finally:
            member.kill()


def test_a_locked_cluster_as_the_command_line_makes_it(tmp_path: Path) -> None:
    """Secrets, configurations, setup and a service: every bucket and stream has three copies."""
    secrets = tmp_path / "secrets"
    framemesh("secrets", "init", str(secrets), "--host", "127.0.0.1")
    with NatsCluster(configure=lambda member, routes: configured(member, routes, secrets)) as cluster:
        environment = {
            "FRAMEMESH_NATS_URL": cluster.urls().replace("nats:", "tls:"),
            "FRAMEMESH_NATS_REPLICAS": "3",
        }
        made = json.loads(framemesh("nats-setup", "--json", environment=environment | party(secrets, "setup")))["kept"]
        asked = cluster.members[0]
        kept = asyncio.run(replicas(environment | party(secrets, "setup"), made))
        assert set(kept.values()) == {3}, kept
        assert len(kept) > 10
        settings = {name.removeprefix("FRAMEMESH_"): value for name, value in party(secrets, "capture").items()}
        with bare_service("capture", environment["FRAMEMESH_NATS_URL"], NATS_REPLICAS="3", **settings):
            pass
        assert "ermissions Violation" not in asked.log


def framemesh(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """The command line, in this process: a start of its own takes it most of a second."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (environment or {}).items():
            patched.setenv(name, value)
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
            main(arguments)
    assert ended.value.code == 0
    return said.getvalue()


def configured(member: Member, routes: Sequence[str], secrets: Path) -> str:
    options = [part for route in routes for part in ("--route", route)]
    options += ["--listen", f"{member.host}:{member.client_port}", "--store", str(member.folder / "js")]
    options += ["--listen-routes", f"{member.host}:{member.route_port}", "--secrets", str(secrets)]
    return framemesh("nats-config", "cluster", "--name", member.name, *options)


def party(secrets: Path, name: str) -> dict[str, str]:
    """What shows that one is this party."""
    said = framemesh("secrets", "env", str(secrets), name)
    pairs = (line.removeprefix("export ").partition("=") for line in said.splitlines() if "=" in line)
    return {key: value.strip("'\"") for key, _, value in pairs if key != "FRAMEMESH_NATS_URL"}


async def replicas(environment: dict[str, str], streams: Sequence[str]) -> dict[str, int | None]:
    access = load_settings(Settings, "cli", environment).bus_access()
    bus = await Bus.connect(environment["FRAMEMESH_NATS_URL"], name="test", access=access, timeout_seconds=10)
    jetstream = bus._client.jetstream(timeout=5)
    plain = {*QUEUES, EVENTS_STREAM, AUDIT_STREAM}
    found = {
        name: (await jetstream.stream_info(name if name in plain else f"KV_{name}")).config.num_replicas
        for name in streams
    }
    await bus.drain()
    return found
