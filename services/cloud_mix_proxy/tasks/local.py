"""A task mixed in this mesh: one mix, one rendition, and outputs."""

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from schemas.commands import (
    Changed,
    OutputChanged,
    RenditionChanged,
    StartOutput,
    StartRendition,
    StopOutput,
    StopRendition,
    StopStream,
)
from schemas.errors import BadRequest, Conflict, ErrorInfo, MeshError, NotFound
from schemas.ids import compound_id
from schemas.mix_resources import MixActual, MixInputActual, MixSpec
from schemas.mix_tasks import TaskRecord
from schemas.mixes import CreateMix, DeleteMix, MixChanged, UpdateMix
from schemas.resources import OutputActual, OutputSpec, RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import command
from services.cloud_mix_proxy.tasks.full_rules import SERVICE, FullRules
from services.cloud_mix_proxy.tasks.place import Refused, Seen
from services.cloud_mix_proxy.tasks.plan import RENDITION, Limits, Plan, mix_of, plan, source_names
from shared.desired import Desired
from shared.reconcile import MENDED_BY_TIME
from shared.state import StateMirrors

log = logging.getLogger(__name__)

_CAPTURE: Final = "capture"
_ENCODER: Final = "hw-encode"
_PUBLISHER: Final = "publisher"
_MAX_REFUSED: Final = 1_024  # tasks whose refusals are remembered; forgotten ones are only asked again
ChangedT = TypeVar("ChangedT", bound=Changed)


class MixCommands(Protocol):
    """Of the owner of mixes; asked directly, as over the bus those of tasks are refused to everybody."""

    async def create(self, request: CreateMix) -> MixChanged: ...

    async def update(self, request: UpdateMix) -> MixChanged: ...

    async def delete(self, request: DeleteMix) -> MixChanged: ...


class LocalPlace:
    """The node's own mixes."""

    def __init__(self, mirrors: StateMirrors, commands: MixCommands, node: str, limits: Limits) -> None:
        self._bus, self._mirrors, self._node, self._limits = mirrors.bus, mirrors, node, limits
        self._commands = commands
        self._mixes: Desired[MixSpec, MixActual] = Desired(SERVICE, MixSpec, MixActual, mirrors)
        self._streams: Desired[StreamSpec, StreamActual] = Desired(_CAPTURE, StreamSpec, StreamActual, mirrors)
        self._renditions: Desired[RenditionSpec, RenditionActual] = Desired(
            _ENCODER, RenditionSpec, RenditionActual, mirrors
        )
        self._outputs: Desired[OutputSpec, OutputActual] = Desired(_PUBLISHER, OutputSpec, OutputActual, mirrors)
        self._refused: dict[str, dict[str, ErrorInfo]] = {}
        """By task and output: what can never work is not asked for again and again."""

    async def advance(self, record: TaskRecord, full: FullRules) -> Seen:
        try:
            wanted = plan(record.task, full.rules, self._node, self._limits)
        except MeshError as error:
            raise Refused(error.info) from error
        found = await self._mixes.find(wanted.mix.mix)
        if found is not None and wanted.mix.node not in (None, found[0].node):
            # Its node is gone, and a mix stays where it is: it is made anew here at the next look.
            await self._end_mix(wanted.mix.mix)
            return Seen(told_operation=record.mix_operation, error=record.error, lost=record.error_sources)
        told, revision, operation_error = await self._mix(record, wanted.mix, found is not None)
        await self._encode_and_push(record.task, wanted)
        return self._look(record, full, told, revision, operation_error)

    async def end(self, record: TaskRecord) -> bool:
        mix, left = mix_of(record.task), False
        for output in [output for output, spec, _, _ in self._outputs.all() if spec.stream == mix]:
            left = True
            await self._stop(
                command(_PUBLISHER, "stop"), StopOutput(stream=mix, output=output[len(mix) + 2 :], wait_s=0)
            )
        if await self._renditions.find(compound_id(mix, RENDITION)) is not None:
            left = True
            await self._stop(command(_ENCODER, "stop"), StopRendition(stream=mix, rendition=RENDITION, wait_s=0))
        if await self._mixes.find(mix) is not None:
            left = True
            await self._end_mix(mix)
        self._refused.pop(record.task, None)
        actual, present = self._mixes.actual(mix), self._present()
        if left or (actual is not None and actual.node in present):
            return False
        # Those of a node that is gone nobody else takes away.
        for stream, spec, _, _ in self._streams.all():
            if spec.made_for == mix and spec.node not in present:
                await self._stop(command(_CAPTURE, "stop"), StopStream(stream=stream, wait_s=0))
        return True

    def _present(self) -> set[str]:
        return {one.node for one in self._mirrors.present(SERVICE)} | {self._node}

    async def _mix(self, record: TaskRecord, spec: MixSpec, there: bool) -> tuple[int, int, ErrorInfo | None]:
        """(the newest operation that the mix knows, its revision, why it was refused)."""
        if there and record.mix_operation >= record.last_operation:
            return record.mix_operation, 0, record.operation_error
        fields = {name: getattr(spec, name) for name in MixSpec.__struct_fields__}
        try:
            if there:
                changed = await self._commands.update(UpdateMix(**fields, wait_s=0))
            else:
                changed = await self._commands.create(CreateMix(**fields, wait_s=0))
        except NotFound:  # it has gone since: the next look makes it
            return record.mix_operation, 0, record.operation_error
        except (BadRequest, Conflict) as error:
            if there:  # the layout before it stays
                return record.last_operation, 0, error.info
            if isinstance(error, Conflict):  # one has come since: the next look finds it
                return record.mix_operation, 0, record.operation_error
            raise Refused(error.info) from error
        return record.last_operation, changed.revision, None

    async def _end_mix(self, mix: str) -> None:
        with contextlib.suppress(NotFound):  # it is gone already
            await self._commands.delete(DeleteMix(mix=mix, wait_s=0))

    async def _request(self, subject: str, request: Struct, reply_type: type[ChangedT]) -> ChangedT:
        try:
            return await self._bus.request(subject, request, reply_type)
        except MeshError as error:
            if error.reply:  # it is written; what its owner says of it is seen in its state
                return msgspec.json.decode(error.reply, type=reply_type)
            raise

    async def _stop(self, subject: str, request: Struct) -> None:
        try:
            await self._bus.request(subject, request, Changed)
        except NotFound:
            log.debug("%s: it is gone already", subject)

    async def _encode_and_push(self, task: str, wanted: Plan) -> None:
        stream = await self._streams.find(wanted.mix.mix)
        mix = self._mixes.spec(wanted.mix.mix)
        if stream is None or mix is None or stream[0].node != mix[0].node:  # still that of the node before
            return
        refused = self._refused.setdefault(task, {})
        if len(self._refused) > _MAX_REFUSED:
            self._refused.pop(next(iter(self._refused)))
        node = mix[0].node
        # What is at another node goes with the stream: that node's packets are no more.
        rendition = await self._renditions.find(compound_id(wanted.mix.mix, RENDITION))
        if rendition is None or rendition[0].node != node:
            await self._start(refused, RENDITION, command(_ENCODER, "start"), StartRendition, wanted.rendition)
        for spec in wanted.outputs:
            output = await self._outputs.find(compound_id(spec.stream, spec.output))
            if output is None or output[0].node != node:
                await self._start(refused, spec.output, command(_PUBLISHER, "start"), StartOutput, spec)

    async def _start(
        self, refused: dict[str, ErrorInfo], name: str, subject: str, request_type: type[Any], spec: Struct
    ) -> None:
        if name in refused:
            return
        fields = {field: getattr(spec, field) for field in spec.__struct_fields__}
        reply_type = RenditionChanged if request_type is StartRendition else OutputChanged
        try:
            await self._request(subject, request_type(**fields, wait_s=0), reply_type)
        except (NotFound, Conflict) as error:  # the stream or the rendition is not there yet
            log.debug("%s of %s: %s", name, subject, error)
        except BadRequest as error:
            refused[name] = error.info

    def _look(
        self, record: TaskRecord, full: FullRules, told: int, revision: int, operation_error: ErrorInfo | None
    ) -> Seen:
        mix = mix_of(record.task)
        actual = self._mixes.actual(mix)
        revision = revision or record.mix_revision
        error = next(iter(self._refused.get(record.task, {}).values()), None) or self._trouble(mix)
        spec = self._mixes.spec(mix)
        if actual is None or spec is None or actual.node != spec[0].node:
            return Seen(told_operation=told, revision=revision, operation_error=operation_error, error=error)
        names = source_names(full.rules)
        troubled = [one for one in actual.inputs if one.state in ("lost", "ended") or one.error is not None]
        current = actual.revision >= revision
        refused = actual.error if current and revision > actual.applied_revision else None
        applied = told if revision and actual.applied_revision >= revision and not operation_error else 0
        rendition = self._renditions.actual(compound_id(mix, RENDITION))
        return Seen(
            running=current and actual.state == "running" and rendition is not None and rendition.node == actual.node,
            ended=current and (actual.state == "ended" or (record.last_success_operation == 0 and _never(actual))),
            told_operation=told,
            applied_operation=applied,
            revision=revision,
            operation_error=operation_error or refused,
            error=_told(actual, troubled, names) or error,
            lost=tuple(sorted(names.get(one.input, one.input) for one in troubled)),
        )

    def _trouble(self, mix: str) -> ErrorInfo | None:
        """Of what the mix goes through: its rendition, its outputs."""
        rendition = self._renditions.actual(compound_id(mix, RENDITION))
        outputs = [actual for _, spec, _, actual in self._outputs.all() if spec.stream == mix]
        return next((one.error for one in (rendition, *outputs) if one is not None and one.error is not None), None)


def _never(actual: MixActual) -> bool:
    """What it is made of cannot be had, and time does not mend that."""
    return actual.state == "failed" and actual.error is not None and actual.error.code not in MENDED_BY_TIME


def _told(actual: MixActual, troubled: list[MixInputActual], names: Mapping[str, str]) -> ErrorInfo | None:
    """What is wrong with a mix, and with its sources by the client's names: why it ended, or what is not seen."""
    errors = [(names.get(one.input, one.input), one.error) for one in troubled if one.error is not None]
    texts = [f"source {name}: {error.message}" for name, error in errors]
    if actual.error is not None:
        return ErrorInfo(code=actual.error.code, message="; ".join([actual.error.message, *texts]))
    return ErrorInfo(code=errors[0][1].code, message="; ".join(texts)) if errors else None
