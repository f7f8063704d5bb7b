"""A locked bus: what is said to whom it refuses, what is rotated while it runs, and the limits of its server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.commands import StartStream, StreamChanged
from schemas.errors import BadRequest, Forbidden, Unavailable
from schemas.subjects import AUDIT_STREAM, DESIRED_BUCKET, EVENTS_STREAM, SECRETS_BUCKET, all_audits, command, packets
from services.cli.kept import as_keeper
from services.launcher import certificates
from services.launcher.bundled_nats import write_configuration
from services.launcher.secret_folder import CERTIFICATE_FILE, KEY_FILE, SecretFolder
from shared.bus import Bus, Endpoint
from shared.nkey import new_seed, seed_file
from shared.secret_store import keep_secret, read_secret
from tests.support.guarded_nats import GuardedNats
from tests.support.nats import NatsServer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

START = command("capture", "start")
API = "$JS.API"
CONNECT_SECONDS = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedNats]:
    with GuardedNats(tmp_path_factory.mktemp("locked")) as running:
        yield running


async def connect(server: GuardedNats, party: str, **changes: str) -> Bus:
    access = msgspec.structs.replace(server.access(party), **changes)
    return await Bus.connect(server.url, name=f"{party}@test", access=access, timeout_seconds=CONNECT_SECONDS)


async def refused(
    server: GuardedNats,
    party: str = "capture",
    url: str = "",
    timeout_seconds: float = CONNECT_SECONDS,
    **changes: str,
) -> str:
    access = msgspec.structs.replace(server.access(party), **changes)
    with pytest.raises(Unavailable) as told:
        await Bus.connect(url or server.url, name="test", access=access, timeout_seconds=timeout_seconds)
    return told.value.message


async def streams_of(server: GuardedNats) -> int:
    """How many there are."""
    cli = await server.connect("cli")
    try:
        return int(msgspec.json.decode((await cli.request(f"{API}.INFO", b"", timeout=5)).data)["streams"])
    finally:
        await cli.close()


def pair_in(folder: Path, pair: certificates.Pair) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / CERTIFICATE_FILE).write_bytes(pair.certificate)
    (folder / KEY_FILE).write_bytes(pair.key)
    return {"certificate": str(folder / CERTIFICATE_FILE), "key": str(folder / KEY_FILE)}


# -- who is refused, and told why --------------------------------------------------------------------------------


async def test_who_shows_the_wrong_things(server: GuardedNats, tmp_path: Path) -> None:
    ours = certificates.Pair(
        (server.secrets.path / "ca.pem").read_bytes(), (server.secrets.path / "ca.key").read_bytes()
    )
    other = certificates.new_authority()
    (tmp_path / "other.pem").write_bytes(other.certificate)
    (tmp_path / "seed.nk").write_text(seed_file(new_seed(), "capture"))

    assert "does not know these credentials" in await refused(server, credentials=str(tmp_path / "seed.nk"))
    assert "does not know these credentials" in await refused(server, credentials="")
    assert "not of the CA of FRAMEMESH_NATS_CA" in await refused(server, ca=str(tmp_path / "other.pem"))
    assert "asks for a client certificate" in await refused(server, certificate="", key="")
    stranger = pair_in(tmp_path / "stranger", certificates.issue(other, "capture", 1))
    assert "FRAMEMESH_NATS_CERTIFICATE" in await refused(server, **stranger)
    expired = pair_in(tmp_path / "expired", certificates.issue(ours, "capture", 0))
    assert "has expired" in await refused(server, **expired)
    # The same address, by a name that the certificate has not.
    assert "is for another name" in await refused(server, url=server.url.replace("127.0.0.1", "127.1"))


async def test_a_server_without_tls_gets_nothing(server: GuardedNats) -> None:
    with NatsServer() as plain:
        said = await refused(server, url=plain.url)
    assert "offers no TLS, which FRAMEMESH_NATS_CA asks for" in said


async def test_files_that_cannot_be_used_are_named(server: GuardedNats, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN NOTHING-----")
    for changes, variable in (
        ({"ca": "/nonexistent"}, "FRAMEMESH_NATS_CA '/nonexistent': No such file"),
        ({"ca": str(broken)}, "FRAMEMESH_NATS_CA"),
        ({"credentials": str(broken)}, "FRAMEMESH_NATS_CREDENTIALS"),
        ({"certificate": str(broken)}, "FRAMEMESH_NATS_CERTIFICATE"),
        ({"key": server.access("cli").key}, "belongs to another key"),
        ({"key": ""}, "FRAMEMESH_NATS_KEY: not set"),
    ):
        with pytest.raises(BadRequest) as told:
            await connect(server, "capture", **changes)
        assert variable in told.value.message
        assert (server.secrets.path / "capture" / "seed.nk").read_text().split()[-1] not in told.value.message


async def test_what_a_party_may_not_ends_at_once_and_is_named(server: GuardedNats) -> None:
    bus = await connect(server, "console")
    try:
        with pytest.raises(Forbidden) as told:
            await bus.request(START, StartStream(stream="cam0", source="test://"), StreamChanged)
        assert "console may not publish to" in told.value.message
        assert START in told.value.message
        with pytest.raises(Forbidden, match="nats-setup"):  # it may not even ask whether there is such a bucket
            await bus.bucket(SECRETS_BUCKET)
        assert bus.stats.refused == 2
        await bus.bucket(DESIRED_BUCKET)
    finally:
        await bus.drain()


async def test_replies_go_to_an_inbox_of_the_partys_own(server: GuardedNats) -> None:
    asked: list[str] = []

    async def started(request: StartStream) -> StreamChanged:
        return StreamChanged(code=200, service="capture", id=request.stream, revision=1)

    capture, cli = await connect(server, "capture"), await connect(server, "cli")
    capture.on_answered(lambda answered: asked.append(answered.reply_to))
    try:
        served = await capture.serve("capture", "0.1.0", "test", [Endpoint(START, StartStream, StreamChanged, started)])
        await cli.request(START, StartStream(stream="cam0", source="test://"), StreamChanged)
        assert asked[0].startswith("_INBOX_cli.")
        await served.close()
    finally:
        for bus in (capture, cli):
            await bus.drain()


async def test_the_server_is_nobodys_hand(server: GuardedNats, caplog: pytest.LogCaptureFixture) -> None:
    """What NATS checks against no permission: where JetStream delivers to, and where replies go."""
    taken: list[StartStream] = []

    async def started(request: StartStream) -> StreamChanged:
        taken.append(request)
        return StreamChanged(code=200, service="capture", id=request.stream, revision=1)

    capture, cli = await connect(server, "capture"), await connect(server, "cli")
    evil = await server.connect("hw-encode")
    key = "$KV.mesh_actual.hw-encode.cam0--main"
    try:
        served = await capture.serve("capture", "0.1.0", "test", [Endpoint(START, StartStream, StreamChanged, started)])
        await evil.publish(key, b'{"stream":"evil","source":"test://"}')
        create = {"deliver_subject": START, "deliver_group": "q", "deliver_policy": "all", "ack_policy": "none"}
        asked = msgspec.json.encode({"stream_name": "KV_mesh_actual", "config": create})
        made = await evil.request("$JS.API.CONSUMER.CREATE.KV_mesh_actual", asked, timeout=5)
        assert b"error" not in made.data
        await evil.publish("$JS.API.STREAM.INFO.KV_mesh_actual", b"", reply=START)
        await evil.flush()
        async with patience(10):
            while "not taken: 'a consumer delivers" not in caplog.text:
                await asyncio.sleep(0.01)
        await cli.request(START, StartStream(stream="cam0", source="test://"), StreamChanged)
        assert [request.stream for request in taken] == ["cam0"]
        await served.close()
    finally:
        await evil.close()
        for bus in (capture, cli):
            await bus.drain()


async def test_nobody_has_the_server_write_read_or_delete_for_him(server: GuardedNats) -> None:
    """A direct get answers wherever the asker says, with what he has written, and the server obeys such an answer."""
    capture, keeper = await connect(server, "capture"), await connect(server, "backup")
    evil, setup = await server.connect("transformer"), await server.connect("setup")
    key = "$KV.mesh_demand.edge1.cam0.raw.evil"
    copy = {"name": "copy", "subjects": ["copy"], "sources": [{"name": "KV_mesh_secrets"}], "storage": "memory"}
    try:
        before = await streams_of(server)
        reference = await keep_secret(capture, "capture", "door", "rtsp://me:hush@door/")
        for value, target in (
            (b'{"stream":"evil","source":"test://"}', "$KV.mesh_desired.capture.evil"),
            (msgspec.json.encode(copy), f"{API}.STREAM.CREATE.copy"),
            (b"{}", f"{API}.STREAM.PURGE.KV_mesh_secrets"),
            (b"", f"{API}.STREAM.DELETE.KV_mesh_secrets"),
        ):
            await evil.publish(key, value)
            await evil.request(f"{API}.STREAM.INFO.KV_mesh_demand", b"", timeout=5)  # it is written
            asked = msgspec.json.encode({"last_by_subj": key})
            await evil.publish(f"{API}.DIRECT.GET.KV_mesh_demand.{key}", b"", reply=target)
            await evil.publish(f"{API}.DIRECT.GET.KV_mesh_demand", asked, reply=target)
            await evil.publish(f"{API}.DIRECT.GET.KV_mesh_actual.$KV.mesh_actual.no.such", b"", reply=target)
            await evil.publish(f"{API}.STREAM.MSG.GET.KV_mesh_demand", asked, reply=target)
            await evil.publish(key, value, reply=target)
            if not target.startswith("$KV."):
                await evil.publish(f"{API}.STREAM.INFO.KV_mesh_demand", b"", reply=target)
        await evil.request(f"{API}.STREAM.INFO.KV_mesh_demand", b"", timeout=5)
        for name in ("KV_mesh_secrets", "KV_mesh_desired", "KV_mesh_demand"):
            told = (await setup.request(f"{API}.STREAM.INFO.{name}", b"", timeout=5)).data
            assert not msgspec.json.decode(told)["config"].get("allow_direct"), f"{name} has nobody who answers so"
        assert await read_secret(capture, reference) == "rtsp://me:hush@door/"
        found = await (await keeper.bucket(DESIRED_BUCKET)).get("capture.evil")
        assert found is None or b'"test://"' not in found.value
        assert await streams_of(server) == before, "none is new, none is gone"
    finally:
        for client in (evil, setup):
            await client.close()
        for bus in (capture, keeper):
            await bus.drain()


async def test_the_audit_is_refused_by_its_name(server: GuardedNats) -> None:
    bus = await connect(server, "backup")
    try:
        with pytest.raises(Forbidden, match="backup may not publish to"):
            await anext(bus.kept_since(AUDIT_STREAM, all_audits(), 0.0))
        with pytest.raises(Forbidden, match="for `backup`"):
            async with as_keeper():
                raise Forbidden("cli may not")
    finally:
        await bus.drain()


async def test_a_service_reads_its_own_secrets_and_their_revisions(server: GuardedNats) -> None:
    capture, publisher = await connect(server, "capture"), await connect(server, "publisher")
    try:
        bucket = await capture.bucket(SECRETS_BUCKET)
        first = await bucket.put("capture.gate", b"one")
        second = await bucket.put("capture.gate", b"two")
        assert await bucket.get("capture.gate") == ("capture.gate", b"two", second)
        assert await bucket.get("capture.gate", first) == ("capture.gate", b"one", first)
        assert await bucket.get("capture.other") is None
        assert await bucket.get("capture.other", first) is None
        await bucket.purge("capture.gate")
        assert await bucket.get("capture.gate") is None
        with pytest.raises(Forbidden, match="publisher may not publish to"):
            await (await publisher.bucket(SECRETS_BUCKET)).get("capture.gate")
    finally:
        for bus in (capture, publisher):
            await bus.drain()


# -- what is rotated ---------------------------------------------------------------------------------------------


async def test_a_rotated_party_comes_back_without_a_restart(server: GuardedNats) -> None:
    publisher, observer = await connect(server, "publisher"), await connect(server, "cli")
    old_seed = (server.secrets.path / "publisher" / "seed.nk").read_text()
    back = asyncio.Event()
    publisher.on_reconnect(back.set)
    try:
        server.secrets.rotate(["publisher", "nats"])
        assert (server.secrets.path / "publisher" / "seed.nk").read_text() != old_seed
        await asyncio.to_thread(server.reload)
        async with patience(10):
            await back.wait()
        assert await publisher.answers(2)
        assert await observer.answers(2), "the others stay, or come back by themselves"
        (server.secrets.path / "old.nk").write_text(old_seed)
        said = await refused(server, "publisher", credentials=str(server.secrets.path / "old.nk"))
        assert "does not know these credentials" in said
    finally:
        (server.secrets.path / "old.nk").unlink(missing_ok=True)
        for bus in (publisher, observer):
            await bus.drain()


# -- the server's limits -----------------------------------------------------------------------------------------


async def test_a_message_that_is_too_large_is_refused_here(server: GuardedNats) -> None:
    bus = await connect(server, "cli")
    try:
        with pytest.raises(BadRequest, match=rf"more than the bus takes in one message \({bus.max_payload_bytes}"):
            await bus.request_raw(START, bytes(bus.max_payload_bytes + 1))
        assert await bus.answers(2), "the connection stays"
    finally:
        await bus.drain()


async def test_connections_and_slow_readers_have_a_limit(tmp_path: Path) -> None:
    few = 'max_connections: 3\nmax_payload: 1MB\nmax_pending: 1MB\nwrite_deadline: "300ms"\n'
    with GuardedNats(tmp_path / "few", few) as server:
        capture, gateway = await connect(server, "capture"), await connect(server, "webrtc-gateway")
        slow = await server.connect("client")
        try:
            said = await refused(server, "cli", timeout_seconds=0.5)
            assert "max_connections" in said

            # A reader that stops: the server lets go of it, and of nobody else.
            got: list[bytes] = []
            await gateway.subscribe(packets("cam0", "main"), lambda message: got.append(message.data))
            await slow.subscribe(packets("cam0", "main"))
            await slow.flush()
            await gateway.flush()
            slow._transport._io_writer.transport.pause_reading()
            subject, posted = packets("cam0", "main", "video"), 0
            async with patience(10):
                while "Slow Consumer" not in server.log():
                    capture.post(subject, bytes(256 << 10))
                    posted += 1
                    await capture.flush()
                await capture.flush()
                while len(got) < posted:
                    await asyncio.sleep(0.01)
            assert capture.stats.reconnects == gateway.stats.reconnects == 0
        finally:
            await slow.close()
            for bus in (capture, gateway):
                await bus.drain()


# -- one that is locked later ------------------------------------------------------------------------------------


def test_a_mesh_that_is_locked_later_keeps_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    (folder / "jetstream" / "jetstream" / "$G" / "streams" / EVENTS_STREAM).mkdir(parents=True)
    secrets = SecretFolder(tmp_path / "secrets")
    secrets.init(["capture"])
    write_configuration(folder, "127.0.0.1", 4222, secrets)
    assert (folder / "jetstream" / "jetstream" / "MESH" / "streams" / EVENTS_STREAM).is_dir()
    write_configuration(folder, "127.0.0.1", 4222)
    assert (folder / "jetstream" / "jetstream" / "$G" / "streams" / EVENTS_STREAM).is_dir()
