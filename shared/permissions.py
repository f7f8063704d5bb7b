"""Least-privilege permissions on the bus, one user per party, derived from the channel table.

What NATS itself needs is added: JetStream's API subjects for each bucket that a party touches, its inbox for replies,
and service discovery. The result has the shape of a `permissions` block of nats-server's configuration.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from schemas.buckets import form_of
from schemas.channel import Channel, Party
from schemas.channels import CHANNELS, RUNNING_SERVICES
from schemas.subjects import EVENTS_STREAM, PRESENCE_BUCKET, SCHEMA_BUCKET, all_events
from shared.backup.archive import KEPT_BUCKETS

PARTIES: tuple[Party, ...] = get_args(Party)
ANSWERING: tuple[Party, ...] = (*RUNNING_SERVICES, "fleet")

# One for each, so that nobody listens to the replies of others, among them the secrets that services read.
INBOXES: dict[Party, str] = {party: f"_INBOX_{party}" for party in PARTIES}
SETUP: Party = "setup"

# A command waits 60 s at most (`wait_s`) and then still has to answer.
RESPONSE_EXPIRES_SECONDS = 70
# All services of one connection answer one discovery request: hw-encode has one of them for each rendition.
MAX_RESPONSES = 1024

_DISCOVERY = "$SRV"
_DISCOVERY_VERBS = ("PING", "INFO", "STATS")  # not `*`, under which NATS allows `>` too
_ACCOUNT_INFO = "$JS.API.INFO"
_OWN_INFO = "$SYS.REQ.USER.INFO"  # a user's own; the system account has the rest


@dataclass
class Grant:
    """What one party may do."""

    publish: set[str] = field(default_factory=set)
    subscribe: set[str] = field(default_factory=set)
    answers: bool = False
    """May reply to requests."""

    def as_permissions(self) -> dict[str, Any]:
        """A `permissions` block of nats-server's configuration."""
        block: dict[str, Any] = {
            "publish": {"allow": _least(self.publish)},
            "subscribe": {"allow": _least(self.subscribe)},
        }
        if self.answers:
            block["allow_responses"] = {"max": MAX_RESPONSES, "expires": f"{RESPONSE_EXPIRES_SECONDS}s"}
        return block


def grants(channels: Iterable[Channel] = CHANNELS) -> dict[Party, Grant]:
    """What each party needs, and no more."""
    found: dict[Party, Grant] = {party: Grant(subscribe={f"{INBOXES[party]}.>"}) for party in PARTIES}
    for channel in channels:
        for sender in channel.senders:
            _send(found[sender], sender, channel)
        for receiver in channel.receivers:
            _receive(found[receiver], receiver, channel)
    for service in ANSWERING:
        for verb in _DISCOVERY_VERBS:
            asked = f"{_DISCOVERY}.{verb}"
            found[service].subscribe |= {asked, f"{asked}.{service}", f"{asked}.{service}.*"}
        found[service].answers = True
    for party in ("cli", "console"):
        found[party].publish.add(f"{_DISCOVERY}.>")
    for channel in channels:
        if channel.bucket in (*KEPT_BUCKETS, SCHEMA_BUCKET):
            _keep(found["backup"], channel)
    _watch(found["backup"], PRESENCE_BUCKET)
    for stream in streams(channels):
        _use_stream(found["cli"], stream)
    found["cli"].publish |= {_ACCOUNT_INFO, _OWN_INFO}  # for the doctor
    _make(found[SETUP], channels)
    return found


def streams(channels: Iterable[Channel] = CHANNELS) -> dict[str, Channel]:
    """Every stream of JetStream that the mesh has, buckets and queues among them, with a channel that is in it."""
    found: dict[str, Channel] = {}
    for channel in channels:
        if channel.bucket or channel.stream:
            found.setdefault(channel.stream or f"KV_{channel.bucket}", channel)
    return found


_READ_KEPT_EVENTS: tuple[Party, ...] = ("webrtc-gateway",)
"""Who shows events of before it was there."""
_READ_STREAMS: tuple[Party, ...] = ("cli",)
"""Who reads the audit, and stories of commands out of events and audit."""


def _least(subjects: set[str]) -> list[str]:
    """Sorted, without those that another one covers."""
    families = tuple(subject.removesuffix(">") for subject in subjects if subject.endswith(".>"))
    return sorted(s for s in subjects if s.endswith(".>") or not s.startswith(families))


def _send(grant: Grant, sender: Party, channel: Channel) -> None:
    grant.publish.add(channel.pattern(sender))
    if channel.semantics == "jetstream":
        _use_stream(grant, channel.stream)
    if channel.semantics == "work-queue":
        _use_stream(grant, channel.stream)
    if channel.bucket:
        _use_stream(grant, f"KV_{channel.bucket}")
        if channel.compare_and_set:
            _get(grant, channel.bucket, channel.pattern(sender))


def _receive(grant: Grant, receiver: Party, channel: Channel) -> None:
    if channel.semantics == "work-queue":
        stream, consumer = _use_stream(grant, channel.stream), channel.consumer
        grant.publish |= {
            f"$JS.API.CONSUMER.INFO.{stream}.{consumer}",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{consumer}",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
            f"$JS.ACK.{stream}.{consumer}.>",
        }
        return
    if not channel.bucket:
        # Events are listened to with one subscription for all that there are or will be.
        grant.subscribe.add(all_events() if channel.stream == EVENTS_STREAM else channel.pattern())
        if channel.semantics == "jetstream" and receiver in _READ_KEPT_EVENTS:
            grant.publish.add(f"$JS.API.STREAM.MSG.GET.{EVENTS_STREAM}")
        if channel.semantics == "jetstream" and receiver in _READ_STREAMS:
            grant.publish |= _reading(_use_stream(grant, channel.stream))
        return
    if channel.read == "get":
        _use_stream(grant, f"KV_{channel.bucket}")
        _get(grant, channel.bucket, channel.pattern())
    else:
        _watch(grant, channel.bucket)


def _keep(grant: Grant, channel: Channel) -> None:
    """Read and write every key, whoever's it is, at whatever revision."""
    _watch(grant, channel.bucket)
    _get(grant, channel.bucket, ">")
    grant.publish.add(channel.pattern())


def _watch(grant: Grant, bucket: str) -> None:
    """The filter of a watch is in its request's body, so a watch of one key cannot be told from one of all."""
    stream = _use_stream(grant, f"KV_{bucket}")
    grant.publish |= _reading(stream)
    if not form_of(bucket).own_keys:
        _get(grant, bucket, ">")


def _get(grant: Grant, bucket: str, keys: str) -> None:
    """Nobody has direct gets: the server sends their answers wherever the asker says, also to subjects that the asker
    may not publish to, its own API among them."""
    if form_of(bucket).own_keys:
        grant.publish.add(f"$JS.API.CONSUMER.CREATE.KV_{bucket}.*.{keys}")
    else:
        grant.publish.add(f"$JS.API.STREAM.MSG.GET.KV_{bucket}")


def _reading(stream: str) -> set[str]:
    """What a place in a stream needs that ends with its reader."""
    return {f"$JS.API.CONSUMER.CREATE.{stream}", f"$JS.API.CONSUMER.INFO.{stream}.*", f"$JS.FC.{stream}.>"}


def _use_stream(grant: Grant, stream: str) -> str:
    grant.publish.add(f"$JS.API.STREAM.INFO.{stream}")
    return stream


def _make(grant: Grant, channels: Iterable[Channel]) -> None:
    """All that is kept, and nothing of what is in it. Whoever may create a stream may let it copy another one, so that
    nobody else may."""
    for stream, channel in streams(channels).items():
        grant.publish |= {f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "CREATE", "UPDATE")}
        if channel.semantics == "work-queue":
            grant.publish |= {
                f"$JS.API.CONSUMER.{verb}.{stream}.{channel.consumer}" for verb in ("INFO", "DURABLE.CREATE")
            }
    grant.publish.add(_ACCOUNT_INFO)
