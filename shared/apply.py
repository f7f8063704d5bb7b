"""Applying a plan: just commands, in order, each answered."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from schemas.commands import OutputChanged, RenditionChanged, StopOutput, StopRendition, StopStream, StreamChanged
from schemas.errors import Conflict, ErrorInfo, MeshError, NotFound
from schemas.ids import compound_id
from schemas.mesh_file import MeshPlan
from schemas.mix_resources import OF_TASK, MixActual, MixSpec
from schemas.mixes import CreateMix, DeleteMix, MixChanged, UpdateMix
from schemas.sample_resources import SampleActual, SampleSpec
from schemas.samples import SampleChanged, StopSample
from schemas.signal_resources import (
    INPUT_STATES,
    RULE_STATES,
    SIGNAL_STATES,
    InputActual,
    InputSpec,
    RuleActual,
    RuleSpec,
    SignalActual,
    SignalSpec,
)
from schemas.signals import InputChanged, RuleChanged, SignalChanged, StartRule, StopInput, StopRule, StopSignal
from schemas.subjects import command
from shared.bus import Bus
from shared.desired import Desired
from shared.state import StateMirrors
from shared.status import mesh_status

_REPLY_MARGIN_SECONDS = 5.0
Reply = (
    StreamChanged
    | RenditionChanged
    | OutputChanged
    | SampleChanged
    | MixChanged
    | SignalChanged
    | InputChanged
    | RuleChanged
)


class Applied(NamedTuple):
    """One command of a plan and what came of it."""

    what: str
    """`stream cam0`, `rendition cam0--main`, `output cam0--archive`, `signal do1`."""
    verb: str
    code: int
    state: str = ""
    error: ErrorInfo | None = None


async def apply_plan(bus: Bus, plan: MeshPlan, *, prune: bool = False) -> AsyncIterator[Applied]:
    """Give the plan's commands one after the other, yielding what came of each; an error does not end it.

    Args:
        prune: afterwards stop what runs but is not in the plan.
    """
    for stream in plan.streams:
        yield await _give(bus, "capture", "start", f"stream {stream.stream}", stream, StreamChanged)
    for mix in plan.mixes:
        yield await _give_mix(bus, mix)
    for rendition in plan.renditions:
        name = compound_id(rendition.stream, rendition.rendition)
        yield await _give(bus, "hw-encode", "start", f"rendition {name}", rendition, RenditionChanged)
    for output in plan.outputs:
        name = compound_id(output.stream, output.output)
        yield await _give(bus, "publisher", "start", f"output {name}", output, OutputChanged)
    for sample in plan.samples:
        name = compound_id(sample.stream, sample.sample)
        yield await _give(bus, "frame-extractor", "start-sample", f"sample {name}", sample, SampleChanged)
    for signal in plan.signals:
        yield await _give(bus, "io-signal", "start", f"signal {signal.signal}", signal, SignalChanged)
    for item in plan.inputs:
        yield await _give(bus, "io-signal", "start-input", f"input {item.input}", item, InputChanged)
    refused = []
    for rule in plan.rules:
        applied = await _give_rule(bus, rule)
        if applied.code == Conflict.code:
            refused.append(rule)
        else:
            yield applied
    if prune:
        async for applied in _prune(bus, plan):
            yield applied
    # Beside rules as they were before, one may go round in a circle; beside what they are now, perhaps not.
    for rule in refused:
        yield await _give_rule(bus, rule)


async def _prune(bus: Bus, plan: MeshPlan) -> AsyncIterator[Applied]:
    mirrors = await StateMirrors.open(bus)
    try:
        status = mesh_status(mirrors)
        running = Desired("frame-extractor", SampleSpec, SampleActual, mirrors).all()
        mixes = Desired("cloud-mix-proxy", MixSpec, MixActual, mirrors).all()
        signals = [name for name, *_ in Desired(SIGNAL_STATES, SignalSpec, SignalActual, mirrors).all()]
        inputs = [name for name, *_ in Desired(INPUT_STATES, InputSpec, InputActual, mirrors).all()]
        rules = [name for name, *_ in Desired(RULE_STATES, RuleSpec, RuleActual, mirrors).all()]
    finally:
        await mirrors.close()
    # Rules first: what they are about is on its way out.
    for rule in sorted(set(rules) - {item.rule for item in plan.rules}):
        yield await _give(bus, "io-signal", "stop-rule", f"rule {rule}", StopRule(rule=rule), RuleChanged)
    for name in sorted(set(inputs) - {item.input for item in plan.inputs}):
        yield await _give(bus, "io-signal", "stop-input", f"input {name}", StopInput(input=name), InputChanged)
    for signal in sorted(set(signals) - {item.signal for item in plan.signals}):
        yield await _give(bus, "io-signal", "stop", f"signal {signal}", StopSignal(signal=signal), SignalChanged)
    samples = {(item.stream, item.sample) for item in plan.samples}
    for name, spec, _, _ in running:
        if (spec.stream, spec.sample) not in samples:
            stop_sample = StopSample(stream=spec.stream, sample=spec.sample)
            yield await _give(bus, "frame-extractor", "stop-sample", f"sample {name}", stop_sample, SampleChanged)
    outputs = {(item.stream, item.output) for item in plan.outputs}
    for output in status.outputs:
        if not OF_TASK.match(output.spec.stream) and (output.spec.stream, output.spec.output) not in outputs:
            stop = StopOutput(stream=output.spec.stream, output=output.spec.output)
            name = compound_id(stop.stream, stop.output)
            yield await _give(bus, "publisher", "stop", f"output {name}", stop, OutputChanged)
    renditions = {(item.stream, item.rendition) for item in plan.renditions}
    for entry in status.renditions:
        if (
            not OF_TASK.match(entry.spec.stream)
            and entry.revision
            and (entry.spec.stream, entry.spec.rendition) not in renditions
        ):
            stop_rendition = StopRendition(stream=entry.spec.stream, rendition=entry.spec.rendition)
            name = compound_id(entry.spec.stream, entry.spec.rendition)
            yield await _give(bus, "hw-encode", "stop", f"rendition {name}", stop_rendition, RenditionChanged)
    wanted = {item.mix for item in plan.mixes}
    for mix, _, _, _ in mixes:
        if mix not in wanted and not OF_TASK.match(mix):
            yield await _give(bus, "cloud-mix-proxy", "delete", f"mix {mix}", DeleteMix(mix=mix), MixChanged)
    streams = {item.stream for item in plan.streams}
    for source in status.streams:
        # What was made for a mix goes with it.
        if source.spec.stream not in streams and source.spec.made_for is None:
            stop_stream = StopStream(stream=source.spec.stream)
            yield await _give(bus, "capture", "stop", f"stream {source.spec.stream}", stop_stream, StreamChanged)


async def _give_rule(bus: Bus, rule: StartRule) -> Applied:
    return await _give(bus, "io-signal", "start-rule", f"rule {rule.rule}", rule, RuleChanged)


async def _give_mix(bus: Bus, mix: MixSpec) -> Applied:
    """Change it, or make it."""
    fields = {name: getattr(mix, name) for name in MixSpec.__struct_fields__}
    what = f"mix {mix.mix}"
    applied = await _give(bus, "cloud-mix-proxy", "update", what, UpdateMix(**fields), MixChanged)
    if applied.error is None or applied.error.code != NotFound.code:
        return applied
    return await _give(bus, "cloud-mix-proxy", "create", what, CreateMix(**fields), MixChanged)


async def _give(
    bus: Bus, service: str, verb: str, what: str, request: msgspec.Struct, reply_type: type[Reply]
) -> Applied:
    timeout = getattr(request, "wait_s", 0.0) + _REPLY_MARGIN_SECONDS
    try:
        reply = await bus.request(command(service, verb), request, reply_type, timeout)
    except MeshError as error:
        return Applied(what, verb, error.code, error=error.info)
    return Applied(what, verb, reply.code, state=reply.actual.state if reply.actual else "")
