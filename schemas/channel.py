"""One channel of the mesh: its subject, what it carries, who speaks and who listens."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

Party = Literal[
    "capture",
    "hw-encode",
    "publisher",
    "webrtc-gateway",
    "frame-extractor",
    "cloud-mix-proxy",
    "io-signal",
    "writer",
    "transformer",
    "client",
    "cli",
    "console",
    "backup",
    "fleet",
    "setup",
]
"""Services, and: `writer`, an application that makes a stream; `transformer`, one that makes a rendition; `client`, one
that uses frames and packets; `cli`, who operates the mesh (`framemesh`, also its `up`); `console`, who only looks;
`backup`, who reads and writes all that the mesh keeps (`framemesh backup` and `restore`); `fleet`, what starts and ends
the services of a node (a part of `up`, or a container); `setup`, who makes buckets and streams in a locked mesh, once
(`framemesh nats-setup`)."""

Semantics = Literal["latest-wins", "at-most-once", "request-reply", "kv", "jetstream", "work-queue"]
"""`latest-wins`, `at-most-once`: core publish/subscribe; of the first a consumer keeps only the newest, of the second
it takes all in order and notices what is missing. `jetstream`: published once, kept in a bounded stream.
`work-queue`: kept until one of those who share its consumer has done it."""

Encoding = Literal["json", "msgpack+bytes", "text", "empty"]
"""`msgpack+bytes`: 2 bytes big-endian header length, the header as msgpack, the payload; see `schemas.packets`."""

_PARAMETERS = re.compile(r"\{([a-z]+)\}")

PARAMETERS: dict[str, str] = {
    "node": "the host whose shared memory holds it",
    "stream": "the live source",
    "rendition": "the encoding of the stream; `source` for the source's own packets, `raw` in demand keys for frames",
    "output": "the destination of a rendition",
    "sample": "pictures of a stream again and again",
    "mix": "a stream made of others",
    "signal": "an output of a device",
    "input": "an input of a device",
    "rule": "what is done when something happens",
    "track": "`video`, `opus` or `aac`",
    "service": "the service that speaks",
    "verb": "of the command",
    "id": "the resource: a stream, `<stream>--<rendition>` or `<stream>--<output>`; of a camera its node; of a job "
    "its id",
    "event": "what happened: `state`, `removed`, `task-failed`, `source-stuck`, `onvif`, `device-found`, "
    "`device-lost`, `publishing`, `publishing-ended`, `adapted`, `kicked`, `voice-started`, `voice-ended`, `clip`, "
    "`sample`; of a mix `mix-started`, `input-lost`, `input-back`, `update-failed`, `mix-ended`; "
    "of a signal `changed`, `refused`, `sent`; of an input `edge`, `frame`; of a rule `fired`, `loop`; "
    "of a job `job-submitted`, `job-started`, `job-progress` (twice a second at most), `job-retried`, "
    "`job-completed`, `job-failed`, `job-canceled`, with `owner`, `attempt`, `done` and `expected` in `detail`",
    "job": "the job's id",
    "task": "the id of a CloudMix task",
    "owner": "whose job it is: the name of an API key, or `mesh`; of a task a digest of that",
    "digest": "of the key that the owner gave the job, or of the name of a task",
    "attempt": "of the job, from 1",
    "page": "part of the list of pictures, from 0",
    "day": "of UTC, as 20260504",
    "consumer": "who needs it: `hw-encode-<rendition>`, `publisher-<output>`, `<name>-<instance>` of others",
}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One subject, or one family of keys in a bucket."""

    name: str
    address: str
    """The subject, with `{name}` for what varies; of keys the subject that NATS gives them, `$KV.<bucket>.<key>`."""
    semantics: Semantics
    payload: type[Struct] | None
    """What is sent; of a command the request. None: text or nothing."""
    summary: str
    reply: type[Struct] | None = None
    encoding: Encoding = "json"
    senders: tuple[Party, ...]
    """Who publishes, puts, or calls."""
    receivers: tuple[Party, ...]
    """Who subscribes, watches or gets, or answers."""
    stream: str = ""
    """Of what JetStream keeps: where,"""
    consumer: str = ""
    """and of a work queue what its workers share."""
    bucket: str = ""
    read: Literal["", "get", "watch"] = ""
    """How receivers read a bucket."""
    compare_and_set: bool = False
    """Senders read their keys before they write them."""
    bound: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By sender: parameters that have only one value there."""

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(_PARAMETERS.findall(self.address))

    @property
    def key(self) -> str:
        """The key in the bucket."""
        return self.address.removeprefix(kv_subject(self.bucket, ""))

    def pattern(self, sender: str = "") -> str:
        """The subject to subscribe to, or the one that `sender` may publish: a token that varies becomes `*`."""
        bound = self.bound.get(sender, {})
        filled = _PARAMETERS.sub(lambda match: bound.get(match[1], match[0]), self.address)
        return ".".join("*" if "{" in token else token for token in filled.split("."))

    def matches(self, subject: str) -> bool:
        """Whether a subject is one of this channel's."""
        wanted, given = self.pattern().split("."), subject.split(".")
        return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


def kv_subject(bucket: str, key: str) -> str:
    """The subject under which NATS keeps a key."""
    return f"$KV.{bucket}.{key}"
