"""Every party tries every subject of the channel table and of NATS itself on a locked server, which knows what may be.

What may be is told here from the channel table, not from the permissions that are made of it.
"""

import asyncio
import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from schemas.channel import Channel
from schemas.channels import CHANNELS, RUNNING_SERVICES
from shared.backup.archive import KEPT_BUCKETS
from shared.permissions import PARTIES
from tests.support.guarded_nats import GuardedNats
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

FORBIDDEN_TO_ALL = "forbidden.to.all"
ANSWERING = {*RUNNING_SERVICES, "fleet"}
LOOKING_AT_SERVICES = {"cli", "console"}
OWN_KEYS = {"KV_mesh_secrets"}
BACKED_UP = {*KEPT_BUCKETS, "mesh_schema"}
# Values of what varies in a subject; a service's own name where it may only be its own.
VALUES = {"service": "capture", "node": "edge1", "track": "video", "rendition": "main"}
API = "$JS.API"
NEVER = (
    *(f"STREAM.{verb}" for verb in ("DELETE", "PURGE", "SNAPSHOT", "RESTORE", "MSG.DELETE", "LEADER.STEPDOWN")),
    *(f"CONSUMER.{verb}" for verb in ("LIST", "NAMES")),
)


class Try(NamedTuple):
    party: str
    does: str
    """`publish` or `subscribe`."""
    subject: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedNats]:
    with GuardedNats(tmp_path_factory.mktemp("matrix")) as running:
        yield running


def concrete(channel: Channel, party: str = "") -> str:
    """A subject of the channel, as `party` would say it."""
    values = {name: VALUES.get(name, f"{name}1") for name in channel.parameters} | dict(channel.bound.get(party, {}))
    return channel.address.format(**values)


def stream_of(channel: Channel) -> str:
    return f"KV_{channel.bucket}" if channel.bucket else channel.stream


STREAMS = {stream_of(channel) for channel in CHANNELS} - {""}
KEYS = {concrete(channel, party) for channel in CHANNELS for party in (*channel.senders, "") if channel.bucket}


@functools.cache
def tokens(channel: str, party: str) -> tuple[str, ...]:
    return tuple(next(one for one in CHANNELS if one.name == channel).pattern(party).split("."))


@functools.cache
def may_publish(party: str, subject: str) -> bool:
    """To a channel, or to write a key."""
    given = subject.split(".")
    for channel in CHANNELS:
        wanted = tokens(channel.name, party)
        fits = len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))
        if party in channel.senders and fits:
            return True
        if party == "backup" and channel.bucket in BACKED_UP and channel.matches(subject):
            return True
    return False


@functools.cache
def uses(party: str, stream: str) -> bool:
    kept = party == "backup" and stream in {f"KV_{bucket}" for bucket in (*BACKED_UP, "mesh_presence")}
    listens = {channel.name for channel in CHANNELS if channel.semantics == "jetstream"}
    return kept or any(
        party in channel.senders or (party in channel.receivers and channel.name not in listens)
        for channel in CHANNELS
        if stream_of(channel) == stream
    )


@functools.cache
def watches(party: str, stream: str) -> bool:
    """Whether it may follow all of a stream, or of a bucket."""
    if party == "backup":
        return stream in {f"KV_{bucket}" for bucket in (*BACKED_UP, "mesh_presence")}
    of_stream = [channel for channel in CHANNELS if stream_of(channel) == stream and party in channel.receivers]
    if party == "cli" and any(channel.semantics == "jetstream" for channel in of_stream):
        return True
    return any(channel.bucket and channel.read == "watch" for channel in of_stream)


def gets(party: str, stream: str, key: str) -> bool:
    """Whether it may read one key."""
    if watches(party, stream) and stream.startswith("KV_"):
        return True
    for channel in CHANNELS:
        if stream_of(channel) == stream:
            if party in channel.receivers and channel.read == "get" and channel.matches(key):
                return True
            if party in channel.senders and channel.compare_and_set and may_publish(party, key):
                return True
    return False


def reads_any(party: str, stream: str) -> bool:
    """Whether it may ask for any one message of a stream."""
    if stream == "mesh_events":
        return party == "webrtc-gateway"
    keys = (key for key in KEYS if key.startswith(f"$KV.{stream.removeprefix('KV_')}."))
    return stream not in OWN_KEYS and any(gets(party, stream, key) for key in keys)


@functools.cache
def is_alone(subject: str) -> bool:
    """No two channels have it."""
    return sum(channel.matches(subject) for channel in CHANNELS) == 1


def channel_tries(party: str) -> Iterator[tuple[Try, bool]]:
    for channel in CHANNELS:
        for sender in dict.fromkeys((party, "", *channel.senders)):
            subject = concrete(channel, sender)
            yield Try(party, "publish", subject), may_publish(party, subject)
        events = channel.name == "events" and party in channel.receivers
        may = not channel.bucket and channel.semantics != "work-queue"
        allowed = may and (party in channel.receivers or events)
        if is_alone(concrete(channel)):
            yield Try(party, "subscribe", concrete(channel)), allowed


def api_tries(party: str) -> Iterator[tuple[Try, bool]]:
    for stream in sorted(STREAMS):
        for verb in NEVER:
            yield Try(party, "publish", f"{API}.{verb}.{stream}"), False
        for verb in ("CREATE", "UPDATE"):
            yield Try(party, "publish", f"{API}.STREAM.{verb}.{stream}"), party == "setup"
        informed = uses(party, stream) or watches(party, stream) or party in ("setup", "cli")
        yield Try(party, "publish", f"{API}.STREAM.INFO.{stream}"), informed
        yield Try(party, "publish", f"{API}.CONSUMER.CREATE.{stream}"), watches(party, stream)
        keeps = party == "backup" and stream in OWN_KEYS
        yield Try(party, "publish", f"{API}.CONSUMER.CREATE.{stream}.mine.>"), keeps
        yield Try(party, "publish", f"{API}.STREAM.MSG.GET.{stream}"), reads_any(party, stream)
        yield Try(party, "publish", f"{API}.DIRECT.GET.{stream}"), False
        yield Try(party, "publish", f"{API}.CONSUMER.DURABLE.CREATE.{stream}.mine"), False
        yield Try(party, "publish", f"{API}.CONSUMER.DELETE.{stream}.theirs"), False
        yield Try(party, "publish", f"{API}.CONSUMER.MSG.NEXT.{stream}.mine"), False
        if stream.startswith("KV_"):
            for key in sorted(key for key in KEYS if key.startswith(f"$KV.{stream.removeprefix('KV_')}.")):
                yield Try(party, "publish", f"{API}.DIRECT.GET.{stream}.{key}"), False
                own = stream in OWN_KEYS and gets(party, stream, key)
                yield Try(party, "publish", f"{API}.CONSUMER.CREATE.{stream}.mine.{key}"), own
    for verb in ("STREAM.LIST", "STREAM.NAMES", "ACCOUNT.PURGE.MESH", "META.LEADER.STEPDOWN", "STREAM.CREATE.copy"):
        yield Try(party, "publish", f"{API}.{verb}"), False
    yield Try(party, "publish", f"{API}.INFO"), party in ("setup", "cli")


def nats_tries(party: str) -> Iterator[tuple[Try, bool]]:
    for subject in ("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.MESH.CONNZ", "_INBOX.x", FORBIDDEN_TO_ALL, "mesh.v1.new"):
        yield Try(party, "publish", subject), False
    for subject in (
        ">",
        "*.>",
        "$SYS.>",
        "$KV.>",
        "$JS.>",
        "$JS.API.>",
        "_INBOX.>",
        "mesh.>",
        "mesh.v1.cmd.>",
        "_R_.>",
    ):
        yield Try(party, "subscribe", subject), False
    yield Try(party, "subscribe", "$KV.mesh_secrets.>"), False
    yield Try(party, "subscribe", "$SRV.>"), False
    yield Try(party, "subscribe", "$SRV.PING"), party in ANSWERING
    yield Try(party, "publish", "$SRV.PING"), party in LOOKING_AT_SERVICES
    for other in PARTIES:
        yield Try(party, "publish", f"_INBOX_{other}.x"), False
        yield Try(party, "subscribe", f"_INBOX_{other}.>"), other == party


async def refused(server: GuardedNats, party: str, tries: Iterable[Try]) -> set[Try]:
    """Those that the server does not let it do; all are sent at once."""
    said: asyncio.Queue[str] = asyncio.Queue()
    client = await server.connect(party, said)
    try:
        by_text = {}
        for one in tries:
            verb = "publish to" if one.does == "publish" else "subscription to"
            by_text[f'{verb} "{one.subject.lower()}"'] = one
            if one.does == "publish":
                await client.publish(one.subject, b"{}")
            else:
                await client.subscribe(one.subject)
        await client.publish(FORBIDDEN_TO_ALL + ".last", b"")
        found: set[Try] = set()
        async with patience(10):
            while "last" not in (text := await said.get()):
                found |= {one for words, one in by_text.items() if words in text} or _unexpected(text)
        return found
    finally:
        await client.close()


def _unexpected(text: str) -> set[Try]:
    raise AssertionError(f"the server said something else: {text}")


@pytest.mark.parametrize("party", PARTIES)
async def test_a_party_may_what_the_table_says_and_no_more(server: GuardedNats, party: str) -> None:
    expected = dict((*channel_tries(party), *api_tries(party), *nats_tries(party)))
    got = await refused(server, party, expected)
    wrongly_allowed = sorted(one for one, allowed in expected.items() if not allowed and one not in got)
    wrongly_refused = sorted(one for one, allowed in expected.items() if allowed and one in got)
    assert (wrongly_allowed, wrongly_refused) == ([], [])
    assert sum(expected.values()) > 5
    assert len(expected) > 500


def test_what_nobody_shall_forget() -> None:
    """The oracle itself: who takes pictures commands nothing, and who looks reads no secret."""
    assert not any(
        allowed
        for party in ("client", "console")
        for one, allowed in channel_tries(party)
        if ".cmd.capture.start" in one.subject or ".cmd.capture.stop" in one.subject
    )
    secrets = [one for one, allowed in api_tries("console") if allowed and "secrets" in one.subject]
    assert secrets == []
