"""What a server tells of itself to whoever may ask: for `framemesh doctor`."""

import asyncio
import base64
import ssl
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client

from schemas.errors import Unavailable
from schemas.units import NS_PER_SECOND
from shared.bus.bus import Bus

_ASK_SECONDS = 1.0
_NOT_FOUND = 404

JetStreamState = Literal["there", "none", "not told"]


class StreamLook(Struct, frozen=True, kw_only=True):
    """One stream or bucket of JetStream."""

    name: str
    bytes: int = 0
    max_bytes: int = 0
    """0: no limit of its own."""
    replicas: int = 1
    behind: int = 0
    """Of its replicas, how many do not have everything, or are away."""


class ServerLook(Struct, frozen=True, kw_only=True):
    """One server, and the account of these credentials in it."""

    name: str = ""
    version: str = ""
    round_trip_seconds: float = 0.0
    clock_ahead_seconds: float | None = None
    """Of the server's host before this one; None: it did not tell."""
    tls: bool = False
    certificate_ends: float | None = None
    """Seconds since 1970, of the server's own."""
    user: str = ""
    account: str = ""
    jetstream: JetStreamState = "not told"
    memory_bytes: int = 0
    max_memory_bytes: int = 0
    storage_bytes: int = 0
    max_storage_bytes: int = 0
    """0, both: no limit is told."""
    streams: tuple[StreamLook, ...] = ()
    missing: tuple[str, ...] = ()
    """Asked for, and not there."""
    not_told: tuple[str, ...] = ()
    """Asked for, and no answer: these credentials may not, or the server is slow."""


async def look_at_server(bus: Bus, streams: Iterable[str]) -> ServerLook:
    """What the server tells of itself, and of these streams; takes a few seconds at most.

    Raises:
        Unavailable: it does not answer.
    """
    names, client = tuple(streams), bus._client
    began = time.monotonic()
    if not await bus.answers(_ASK_SECONDS):
        raise Unavailable(f"the NATS server does not answer within {_ASK_SECONDS:g} s")
    round_trip_seconds = time.monotonic() - began
    account, user, *found = await asyncio.gather(
        _ask(client, "$JS.API.INFO"),
        _ask(client, "$SYS.REQ.USER.INFO"),
        *(_ask(client, f"$JS.API.STREAM.INFO.{name}") for name in names),
    )
    told = [(name, answer) for name, answer in zip(names, found, strict=True) if answer]
    missing = tuple(name for name, answer in told if _code(answer) == _NOT_FOUND)
    looks = tuple(_stream(name, answer) for name, answer in told if "config" in answer)
    data = _mapping(user, "data")
    info: dict[str, Any] = client._server_info
    return ServerLook(
        name=str(info.get("server_name", "")),
        version=str(info.get("version", "")),
        round_trip_seconds=round_trip_seconds,
        clock_ahead_seconds=await _clock_ahead(client, next((look.name for look in looks), "")),
        tls=_certificate(client) is not None,
        certificate_ends=_ends(_certificate(client)),
        user=str(data.get("user", "")),
        account=str(data.get("account", "")),
        jetstream=_jetstream(account, bool(told)),
        memory_bytes=_number(account, "memory"),
        max_memory_bytes=max(0, _number(_mapping(account, "limits"), "max_memory")),
        storage_bytes=_number(account, "storage"),
        max_storage_bytes=max(0, _number(_mapping(account, "limits"), "max_storage")),
        streams=looks,
        missing=missing,
        not_told=tuple(name for name, answer in zip(names, found, strict=True) if not answer),
    )


async def stored_at(bus: Bus, bucket: str, key: str) -> tuple[bytes, int] | None:
    """The value of a key, and when the server stored it (its CLOCK_REALTIME, ns); None: it does not tell."""
    body = msgspec.json.encode({"last_by_subj": f"$KV.{bucket}.{key}"})
    message = _mapping(await _ask(bus._client, f"$JS.API.STREAM.MSG.GET.KV_{bucket}", body), "message")
    at_ns = _time_ns(str(message.get("time", "")))
    return None if at_ns is None else (base64.b64decode(str(message.get("data", ""))), at_ns)


async def _clock_ahead(client: Client, stream: str) -> float | None:
    """By how much the server's clock is ahead of ours: when it wrote an answer, against the middle of our wait."""
    before_ns = time.time_ns()
    answer = await _ask(client, f"$JS.API.STREAM.INFO.{stream}") if stream else {}
    after_ns = time.time_ns()
    then_ns = _time_ns(str(answer.get("ts", "")))
    return None if then_ns is None else (then_ns - (before_ns + after_ns) // 2) / NS_PER_SECOND


async def _ask(client: Client, subject: str, body: bytes = b"") -> dict[str, Any]:
    """The answer, {} when there is none; one with an error of code 503 when there is nobody to answer."""
    try:
        answer = await client.request(subject, body, timeout=_ASK_SECONDS)
    except nats.errors.NoRespondersError:
        return {"error": {"code": 503}}
    except (nats.errors.Error, TimeoutError):
        return {}
    try:
        decoded = msgspec.json.decode(answer.data)
    except msgspec.DecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _stream(name: str, answer: dict[str, Any]) -> StreamLook:
    config, cluster = _mapping(answer, "config"), _mapping(answer, "cluster")
    others = cluster.get("replicas") or []
    return StreamLook(
        name=name,
        bytes=_number(_mapping(answer, "state"), "bytes"),
        max_bytes=max(0, _number(config, "max_bytes")),
        replicas=max(1, _number(config, "num_replicas")),
        behind=sum(1 for one in others if not one.get("current") or one.get("offline")),
    )


def _jetstream(account: dict[str, Any], streams_answer: bool) -> JetStreamState:
    if not account:
        return "there" if streams_answer else "not told"
    return "none" if "error" in account else "there"


def _code(answer: dict[str, Any]) -> int:
    return _number(_mapping(answer, "error"), "code")


def _mapping(answer: dict[str, Any], name: str) -> dict[str, Any]:
    found = answer.get(name)
    return found if isinstance(found, dict) else {}


def _number(answer: dict[str, Any], name: str) -> int:
    found = answer.get(name, 0)
    return found if isinstance(found, int) else 0


def _certificate(client: Client) -> dict[str, Any] | None:
    """The server's, of a connection that is checked; None: no TLS."""
    writer = getattr(client._transport, "_io_writer", None)
    secure = writer.get_extra_info("ssl_object") if writer is not None else None
    return None if secure is None else dict(secure.getpeercert() or {})


def _ends(certificate: dict[str, Any] | None) -> float | None:
    ends = (certificate or {}).get("notAfter")
    return None if ends is None else float(ssl.cert_time_to_seconds(str(ends)))


def _time_ns(text: str) -> int | None:
    """RFC 3339 with up to nine decimals, as Go writes it; `fromisoformat` knows six."""
    whole, _, rest = text.rstrip("Z").partition(".")
    try:
        seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
        return seconds * NS_PER_SECOND + int(rest.ljust(9, "0")[:9] or 0)
    except ValueError:
        return None
