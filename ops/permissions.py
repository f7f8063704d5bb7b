"""Least-privilege permissions on the bus, one user per party, derived from the channel table.

What NATS itself needs is added: JetStream's API subjects for each bucket that a party touches, its inbox for replies,
and service discovery. The result has the shape of a `permissions` block of nats-server's configuration.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from schemas.channel import Channel, Party
from schemas.channels import CHANNELS, RUNNING_SERVICES
from schemas.subjects import DESIRED_BUCKET, EVENTS_STREAM, all_events

PARTIES: tuple[Party, ...] = get_args(Party)

# Those that run framemesh's own bus code get replies under NATS's common prefix; who only looks gets one of its own,
# so that it cannot listen to the replies of others, among them the secrets that services read.
INBOXES: dict[Party, str] = {**dict.fromkeys(PARTIES, "_INBOX"), "console": "_INBOX_console"}

# A command waits 60 s at most (`wait_s`) and then still has to answer.
RESPONSE_EXPIRES_SECONDS = 70
# All services of one connection answer one discovery request: hw-encode has one of them for each rendition.
MAX_RESPONSES = 1024

_DISCOVERY = "$SRV"


@dataclass
class Grant:
    """What one party may do."""

    publish: set[str] = field(default_factory=set)
    first_start: set[str] = field(default_factory=set)
    """To publish too, as long as nobody else makes buckets and events stream; memory buckets go with the server."""
    subscribe: set[str] = field(default_factory=set)
    answers: bool = False
    """May reply to requests."""

    def as_permissions(self) -> dict[str, Any]:
        """A `permissions` block of nats-server's configuration."""
        block: dict[str, Any] = {
            "publish": {"allow": _least(self.publish | self.first_start)},
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
    for service in RUNNING_SERVICES:
        found[service].subscribe |= {f"{_DISCOVERY}.*", f"{_DISCOVERY}.*.{service}", f"{_DISCOVERY}.*.{service}.*"}
        found[service].answers = True
    for party in ("cli", "console"):
        found[party].publish.add(f"{_DISCOVERY}.>")
    return found


def document() -> dict[str, Any]:
    """The generated permissions.json: by user name."""
    return {
        party: {
            "inbox_prefix": INBOXES[party],
            "permissions": grant.as_permissions(),
            "only_for_first_start": sorted(grant.first_start),
        }
        for party, grant in grants().items()
    }


_READ_KEPT_EVENTS: tuple[Party, ...] = ("webrtc-gateway",)
"""Who shows events of before it was there."""


def _least(subjects: set[str]) -> list[str]:
    """Sorted, without those that another one covers."""
    families = tuple(subject.removesuffix(">") for subject in subjects if subject.endswith(".>"))
    return sorted(s for s in subjects if s.endswith(".>") or not s.startswith(families))


def _send(grant: Grant, sender: Party, channel: Channel) -> None:
    grant.publish.add(channel.pattern(sender))
    if channel.semantics == "jetstream":
        _use_stream(grant, sender, EVENTS_STREAM)
    if channel.semantics == "work-queue":
        _use_stream(grant, sender, channel.stream)
    if channel.bucket:
        stream = _use_stream(grant, sender, f"KV_{channel.bucket}")
        if channel.compare_and_set:
            grant.publish.add(f"$JS.API.DIRECT.GET.{stream}.{channel.pattern(sender)}")


def _receive(grant: Grant, receiver: Party, channel: Channel) -> None:
    if channel.semantics == "work-queue":
        stream, consumer = _use_stream(grant, receiver, channel.stream), channel.consumer
        grant.publish |= {
            f"$JS.API.CONSUMER.INFO.{stream}.{consumer}",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{consumer}",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
            f"$JS.ACK.{stream}.{consumer}.>",
        }
        return
    if not channel.bucket:
        # Events are listened to with one subscription for all that there are or will be.
        grant.subscribe.add(all_events() if channel.semantics == "jetstream" else channel.pattern())
        if channel.semantics == "jetstream" and receiver in _READ_KEPT_EVENTS:
            grant.publish.add(f"$JS.API.STREAM.MSG.GET.{EVENTS_STREAM}")
        return
    stream = _use_stream(grant, receiver, f"KV_{channel.bucket}")
    if channel.read == "get":
        grant.publish.add(f"$JS.API.DIRECT.GET.{stream}.{channel.pattern()}")
    else:
        # The filter of a watch is in its request's body, so a watch of one key cannot be told from one of all.
        grant.publish |= {
            f"$JS.API.CONSUMER.CREATE.{stream}",
            f"$JS.API.CONSUMER.INFO.{stream}.*",
            f"$JS.API.DIRECT.GET.{stream}.>",
            f"$JS.FC.{stream}.>",
        }
        if channel.bucket == DESIRED_BUCKET:  # of what was asked for before, which a watch could ask for too
            grant.publish.add(f"$JS.API.DIRECT.GET.{stream}")


def _use_stream(grant: Grant, party: Party, stream: str) -> str:
    grant.publish.add(f"$JS.API.STREAM.INFO.{stream}")
    if party in RUNNING_SERVICES:
        grant.first_start.add(f"$JS.API.STREAM.CREATE.{stream}")
    return stream
