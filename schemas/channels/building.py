"""Channels of one kind look alike: what makes them, with `{name}` for what varies."""

import re
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from schemas import subjects
from schemas.channel import Channel, Party, kv_subject
from schemas.channels.parties import FOR_PEOPLE, OBSERVERS
from schemas.ids import compound_id

# Valid ids, so that the builders take them; no name of the mesh begins so.
PLACEHOLDER = "param-{}"
_PLACEHOLDERS = re.compile(r"param-([a-z]+)")


def template(build: Callable[..., str], *names: str, **fixed: str) -> str:
    """The subject that `build` makes, with `{name}` for each of its arguments `names`."""
    return named(build(*(PLACEHOLDER.format(name) for name in names), **fixed))


def named(subject: str) -> str:
    return _PLACEHOLDERS.sub(r"{\1}", subject)


def stream_id(name: str = "") -> str:
    stream = PLACEHOLDER.format("stream")
    return compound_id(stream, PLACEHOLDER.format(name)) if name else stream


def command(
    service: Party,
    verb: str,
    request: type[Struct],
    reply: type[Struct],
    callers: tuple[Party, ...],
    summary: str,
    resource: str | None = None,
    name: str = "",
) -> Channel:
    """`resource`: the id of what only its owner answers for. What people may call, the gateway calls for those who ask
    over HTTP, and io-signal for the rules that they have written. `name`: of the channel, where another has that of the
    verb."""
    if "cli" in callers:
        callers = (*callers, *(party for party in FOR_PEOPLE if party not in callers))
    return Channel(
        name=f"{service}.{name or verb}",
        address=named(subjects.command(service, verb, resource)),
        semantics="request-reply",
        payload=request,
        reply=reply,
        senders=callers,
        receivers=(service,),
        summary=summary,
    )


def keys(bucket: str, service: Party, key: str, payload: type[Struct] | None, summary: str, **fields: Any) -> Channel:
    """Their channel is called by what keys begin with, where that is not the service's name."""
    return Channel(
        name=f"{bucket.removeprefix('mesh_')}.{fields.pop('kind', service)}",
        address=kv_subject(bucket, named(key)),
        semantics="kv",
        payload=payload,
        summary=summary,
        bucket=bucket,
        **{"senders": (service,), **fields},
    )


def state(
    bucket: str, service: Party, name: str, payload: type[Struct], summary: str, kind: str | None = None
) -> Channel:
    """`kind`: how keys begin, where that is not the service's name."""
    own_name = name in ("mix", "signal", "input", "rule")
    key = subjects.state_key(kind or service, PLACEHOLDER.format(name) if own_name else stream_id(name))
    rest = {"receivers": OBSERVERS, "read": "watch", "compare_and_set": bucket == subjects.DESIRED_BUCKET}
    return keys(bucket, service, key, payload, summary, kind=kind or service, **rest)


def secret(service: Party, name: str, summary: str) -> Channel:
    key = subjects.state_key(service, PLACEHOLDER.format(name) if name == "mix" else stream_id(name))
    rest = {"receivers": (service,), "read": "get", "compare_and_set": True, "encoding": "text"}
    return keys(subjects.SECRETS_BUCKET, service, key, None, summary, **rest)


def epoch(takers: tuple[Party, ...], name: str, summary: str) -> Channel:
    rest = {"senders": takers, "receivers": (), "compare_and_set": True, "encoding": "text"}
    return keys(subjects.EPOCH_BUCKET, takers[0], stream_id(name), None, summary, **rest)


def job_keys(
    name: str,
    bucket: str,
    build: Callable[..., str],
    parameters: tuple[str, ...],
    payload: type[Struct] | None,
    summary: str,
    read: Literal["get", "watch"] = "get",
    service: Party = "frame-extractor",
) -> Channel:
    return Channel(
        name=name,
        address=kv_subject(bucket, template(build, *parameters)),
        semantics="kv",
        payload=payload,
        encoding="json" if payload else "text",
        senders=(service,),
        receivers=(service,),
        summary=summary,
        bucket=bucket,
        read=read,
        compare_and_set=True,
    )


def job_secret() -> Channel:
    key = subjects.state_key("frame-extractor", PLACEHOLDER.format("job"))
    rest = {"receivers": ("frame-extractor",), "read": "get", "compare_and_set": True, "encoding": "text"}
    summary = "Full URL of a job's video that has credentials."
    return keys(subjects.SECRETS_BUCKET, "frame-extractor", key, None, summary, **rest)
