"""Still pictures, brought here whole before a mix changes: nothing of a new layout may be missing when it is seen."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.errors import BadRequest, MeshError, Unavailable
from schemas.mix_resources import MixSpec
from services.cloud_mix_proxy.mixes.sources import kind_of
from services.cloud_mix_proxy.settings import CloudMixProxySettings
from shared.netguard import GuardedUrl, HttpReader, Policy, Timeouts, check_async, interruptible

MAX_STILL_BYTES: Final = 20 << 20
MAX_STILLS_BYTES: Final = 128 << 20  # of all of a mix
_READ_BYTES: Final = 256 << 10
_WEB: Final = frozenset(("http", "https"))


@dataclass(frozen=True, slots=True)
class StillFile:
    """A picture as its file is."""

    digest: str
    data: bytes


def known_as(url: str, spec: MixSpec, settings: CloudMixProxySettings) -> str:
    """What a picture is known by once it was fetched: under rules that may refuse its address it is another one."""
    rules = (url, spec.public_only, settings.allow_private, *map(str, settings.file_roots))
    return hashlib.sha256(msgspec.json.encode(rules)).hexdigest()


def known_stills(
    spec: MixSpec, settings: CloudMixProxySettings, stills: Mapping[str, StillFile]
) -> dict[str, StillFile]:
    """`stills`, which are by full source, by what they are known by."""
    return {known_as(source, spec, settings): still for source, still in stills.items()}


async def fetch_stills(
    spec: MixSpec, settings: CloudMixProxySettings, known: Mapping[str, StillFile]
) -> dict[str, StillFile]:
    """The still inputs and logos of `spec`, by their full sources; those in `known` are not fetched again.

    Raises:
        InvalidValue: a forbidden address.
        NotFound, BadRequest, Unavailable: it is not there, larger than allowed, or too slow.
    """
    inputs = [(number, one) for number, one in enumerate(spec.inputs) if kind_of(one) == "still"]
    named = {one.source: f"inputs.{number}.source" for number, one in inputs}
    named |= {one.source: f"logos.{number}.source" for number, one in enumerate(spec.logos)}
    names = {source: known_as(source, spec, settings) for source in named}
    found = {source: known[name] for source, name in names.items() if name in known}
    missing = [source for source in named if source not in found]
    async with asyncio.TaskGroup() as group:
        tasks = {source: group.create_task(_caught(source, named[source], spec, settings)) for source in missing}
    for source, task in tasks.items():
        outcome = task.result()
        if isinstance(outcome, MeshError):
            raise outcome
        found[source] = outcome
    total = sum(len(one.data) for one in {still.digest: still for still in found.values()}.values())
    if total > MAX_STILLS_BYTES:
        raise BadRequest(f"{total} bytes of still pictures; a mix has at most {MAX_STILLS_BYTES}")
    return found


async def _caught(url: str, place: str, spec: MixSpec, settings: CloudMixProxySettings) -> StillFile | MeshError:
    # As a value: a group wraps what its tasks raise, and the first error by place is the one to tell.
    try:
        return await fetch_still(url, place, settings, public_only=spec.public_only)
    except MeshError as error:
        return error


async def fetch_still(url: str, place: str, settings: CloudMixProxySettings, *, public_only: bool = False) -> StillFile:
    """One picture; `place` names its field in errors. Raises as `fetch_stills`."""
    policy = Policy(
        schemes=_WEB if public_only else _WEB | {"file"},
        allow_private=settings.allow_private and not public_only,
        file_roots=settings.file_roots,
        playlists=False,
    )
    limit_seconds = settings.still_seconds
    deadline = time.monotonic() + limit_seconds
    guarded = await check_async(url, policy, field=place, timeout_seconds=limit_seconds)
    stop = threading.Event()
    try:
        return await asyncio.to_thread(_still, guarded, deadline, limit_seconds, stop)
    finally:
        stop.set()  # also when nobody waits any more: the thread ends at its next piece


def _still(guarded: GuardedUrl, deadline: float, limit_seconds: float, stop: threading.Event) -> StillFile:
    data = _read(guarded, deadline, limit_seconds, stop)
    return StillFile(hashlib.sha256(data).hexdigest(), data)


def _read(guarded: GuardedUrl, deadline: float, limit_seconds: float, stop: threading.Event) -> bytes:
    if guarded.file is not None:
        try:
            with guarded.file.open("rb") as file:
                data = file.read(MAX_STILL_BYTES + 1)
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); is it this user's?"
            raise BadRequest(f"{guarded.field_name} {guarded.shown!r}: {reason}") from None
        _check_size(guarded, len(data))
        return data
    with interruptible(stop):
        left_seconds = max(round(deadline - time.monotonic(), 1), 0.1)  # 0 would mean none; errors tell of it
        reader = HttpReader(guarded, Timeouts(left_seconds, left_seconds))
        try:
            _check_size(guarded, reader.size_bytes or 0)
            body = bytearray()
            while piece := reader.read(_READ_BYTES):
                body += piece
                _check_size(guarded, len(body))
                if stop.is_set() or time.monotonic() > deadline:
                    raise Unavailable(f"{guarded.field_name} {guarded.shown!r}: not here within {limit_seconds:g} s")
            return bytes(body)
        finally:
            reader.close()


def _check_size(guarded: GuardedUrl, size_bytes: int) -> None:
    if size_bytes > MAX_STILL_BYTES:
        text = f"has {size_bytes} bytes or more; a still picture has at most {MAX_STILL_BYTES}"
        raise BadRequest(f"{guarded.field_name} {guarded.shown!r}: {text}")
