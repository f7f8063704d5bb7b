"""A task that a cloud mixes: made, changed and ended there by the same API, and looked at now and then."""

import contextlib
import time
from typing import Any, Final, Self, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from schemas.cloud_mix import MixedRules
from schemas.errors import ErrorInfo, Unavailable
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.tasks.full_rules import FullRules
from services.cloud_mix_proxy.tasks.place import Refused, Seen
from services.cloud_mix_proxy.tasks.push_address import push_url
from services.cloud_mix_proxy.tasks.settings import TaskSettings
from services.cloud_mix_proxy.upstream.client import CallRefused, CloudClient, printable

_POLL_SECONDS: Final = 5.0  # ten calls a second are what the API allows of one action; dozens of tasks stay below
_LISTED: Final = 100  # the most that a page has
_MAX_PAGES: Final = 10
_RUNNING: Final = frozenset(("runing", "running"))  # as this API spells it, and its siblings
_ENDING: Final = frozenset(("prestop", "done"))


StructT = TypeVar("StructT", bound=Struct)


class _Created(Struct):
    task: str = field(name="TaskID")


class _Detail(Struct):
    status: str = field(name="Status")
    last: int = field(name="LastOperationIndex", default=0)
    last_success: int = field(name="LastSuccessOperationIndex", default=0)
    operation_message: str | None = field(name="LastOperationErrMsg", default="")
    message: str | None = field(name="TaskErrMsg", default="")
    sources: str | list[str] | None = field(name="TaskErrSrcIDs", default="")


class _Row(Struct):
    task: str = field(name="TaskID")
    name: str = field(name="Name", default="")
    status: str = field(name="Status", default="")


class _Page(Struct):
    count: int = field(name="Count", default=0)
    rows: list[_Row] = field(name="Result", default_factory=list)


class _Asked(Struct, omit_defaults=True):
    rules: MixedRules = field(name="MixedRules")
    name: str | None = field(name="Name", default=None)
    task: str | None = field(name="TaskID", default=None)


class CloudPlace:
    """Tasks there have our ids for names: one that was made and whose answer was lost is found again."""

    def __init__(self, client: CloudClient) -> None:
        self._client = client
        self._looked: dict[str, tuple[float, int, Seen]] = {}
        """When, at which of our operations, and what was seen; by task."""

    @classmethod
    def from_settings(cls, settings: TaskSettings) -> Self:
        return cls(
            CloudClient(
                settings.upstream_url.rstrip("/"),
                settings.upstream_access_key,
                settings.upstream_secret_key,
                settings.upstream_region,
            )
        )

    async def close(self) -> None:
        await self._client.close()

    async def advance(self, record: TaskRecord, full: FullRules) -> Seen:
        known = self._looked.get(record.task)
        if known and known[1] == record.last_operation and time.monotonic() - known[0] < _POLL_SECONDS:
            return known[2]
        seen = await self._advance(record, full)
        self._looked[record.task] = (time.monotonic(), record.last_operation, seen)
        return seen

    async def end(self, record: TaskRecord) -> bool:
        self._looked.pop(record.task, None)
        try:
            cloud_task = record.cloud_task or await self._find(record.task)
        except Refused:  # who is not let in has made nothing
            return True
        if not cloud_task:
            return True
        with contextlib.suppress(CallRefused):  # it has ended, or is not known any more: what it is now tells
            await self._client.call("DeleteCloudMixTask", {"TaskID": cloud_task})
        try:
            return (await self._detail(cloud_task)).status in _ENDING
        except CallRefused:
            return True

    async def _advance(self, record: TaskRecord, full: FullRules) -> Seen:
        # Its callbacks are ours to make: the cloud does not reach who asked here, nor shall it know of them.
        rules = _pushing_as_here(record.task, full.rules)
        cloud_task = record.cloud_task or await self._find(record.task)
        told, operation_error = max(record.mix_operation, 1), record.operation_error
        if not cloud_task:
            cloud_task, told = await self._create(record, rules), record.last_operation
        elif told < record.last_operation:
            operation_error = await self._update(cloud_task, rules)
            told = record.last_operation
        try:
            detail = await self._detail(cloud_task)
        except CallRefused as refused:  # it is not known there any more
            return Seen(cloud_task=cloud_task, told_operation=told, ended=True, error=refused.error)
        caught_up = detail.last_success >= detail.last > 0 and operation_error is None
        if not caught_up and operation_error is None:
            operation_error = _said(detail.operation_message, rules)
        return Seen(
            running=detail.status in _RUNNING,
            ended=detail.status in _ENDING,
            told_operation=told,
            applied_operation=told if caught_up else 0,
            cloud_task=cloud_task,
            operation_error=operation_error,
            error=_said(detail.message, rules),
            lost=_sources(detail.sources),
        )

    async def _create(self, record: TaskRecord, rules: MixedRules) -> str:
        try:
            data = await self._client.call("CreateCloudMixTask", _Asked(rules=rules, name=record.task), _secrets(rules))
        except CallRefused as refused:
            # Its name is taken where it was made before, and the answer was lost.
            if cloud_task := await self._find(record.task):
                return cloud_task
            raise Refused(refused.error) from refused
        return _read(data, _Created).task

    async def _update(self, cloud_task: str, rules: MixedRules) -> ErrorInfo | None:
        try:
            await self._client.call("UpdateCloudMixTask", _Asked(rules=rules, task=cloud_task), _secrets(rules))
        except CallRefused as refused:
            return refused.error
        return None

    async def _detail(self, cloud_task: str) -> _Detail:
        return _read(await self._client.call("GetCloudMixTaskDetail", {"TaskID": cloud_task}), _Detail)

    async def _find(self, name: str) -> str:
        """The task there that has our id for its name; empty when there is none that goes on."""
        for page in range(1, _MAX_PAGES + 1):
            try:
                found = _read(await self._client.call("ListCloudMixTask", {"PageSize": _LISTED, "Page": page}), _Page)
            except CallRefused as refused:
                raise Refused(refused.error) from refused
            for row in found.rows:
                if row.name == name and row.status not in _ENDING:
                    return row.task
            if page * _LISTED >= found.count:
                break
        return ""


def _read(data: Any, kind: type[StructT]) -> StructT:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise Unavailable(f"the cloud answers with something else than this API does: {error}") from None


def _pushing_as_here(task: str, rules: MixedRules) -> MixedRules:
    """An address without a stream key gets our task for it, whoever mixes: that is the one that the client knows."""
    addresses = enumerate(rules.output.url)
    urls = tuple(push_url(one, task, f"MixedRules.Output.Url.{number}", public_only=False) for number, one in addresses)
    return replace(rules, output=replace(rules.output, url=urls))


def _said(message: str | None, rules: MixedRules) -> ErrorInfo | None:
    """What the cloud says, which may repeat what it was given."""
    return ErrorInfo(code=502, message=f"the cloud says: {printable(message, _secrets(rules))}") if message else None


def _secrets(rules: MixedRules) -> list[str]:
    logos = [logo.url for logo in rules.input_layout.logo]
    return [*(source.url for source in rules.input_source), *logos, *rules.output.url]


def _sources(said: str | list[str] | None) -> tuple[str, ...]:
    names = said.split(",") if isinstance(said, str) else said or []
    return tuple(sorted(name.strip() for name in names if name.strip()))
