"""Applying a plan: just commands, in order, each answered."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from schemas.commands import OutputChanged, RenditionChanged, StopOutput, StopRendition, StopStream, StreamChanged
from schemas.errors import ErrorInfo, MeshError
from schemas.ids import compound_id
from schemas.mesh_file import MeshPlan
from schemas.sample_resources import SampleActual, SampleSpec
from schemas.samples import SampleChanged, StopSample
from schemas.subjects import command
from shared.bus import Bus
from shared.desired import Desired
from shared.state import StateMirrors
from shared.status import mesh_status

_REPLY_MARGIN_SECONDS = 5.0
Reply = StreamChanged | RenditionChanged | OutputChanged | SampleChanged


class Applied(NamedTuple):
    """One command of a plan and what came of it."""

    what: str
    """`stream cam0`, `rendition cam0--main`, `output cam0--archive`."""
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
    for rendition in plan.renditions:
        name = compound_id(rendition.stream, rendition.rendition)
        yield await _give(bus, "hw-encode", "start", f"rendition {name}", rendition, RenditionChanged)
    for output in plan.outputs:
        name = compound_id(output.stream, output.output)
        yield await _give(bus, "publisher", "start", f"output {name}", output, OutputChanged)
    for sample in plan.samples:
        name = compound_id(sample.stream, sample.sample)
        yield await _give(bus, "frame-extractor", "start-sample", f"sample {name}", sample, SampleChanged)
    if prune:
        async for applied in _prune(bus, plan):
            yield applied


async def _prune(bus: Bus, plan: MeshPlan) -> AsyncIterator[Applied]:
    mirrors = await StateMirrors.open(bus)
    try:
        status = mesh_status(mirrors)
        running = Desired("frame-extractor", SampleSpec, SampleActual, mirrors).all()
    finally:
        await mirrors.close()
    samples = {(item.stream, item.sample) for item in plan.samples}
    for name, spec, _, _ in running:
        if (spec.stream, spec.sample) not in samples:
            stop_sample = StopSample(stream=spec.stream, sample=spec.sample)
            yield await _give(bus, "frame-extractor", "stop-sample", f"sample {name}", stop_sample, SampleChanged)
    outputs = {(item.stream, item.output) for item in plan.outputs}
    for output in status.outputs:
        if (output.spec.stream, output.spec.output) not in outputs:
            stop = StopOutput(stream=output.spec.stream, output=output.spec.output)
            name = compound_id(stop.stream, stop.output)
            yield await _give(bus, "publisher", "stop", f"output {name}", stop, OutputChanged)
    renditions = {(item.stream, item.rendition) for item in plan.renditions}
    for entry in status.renditions:
        if entry.revision and (entry.spec.stream, entry.spec.rendition) not in renditions:
            stop_rendition = StopRendition(stream=entry.spec.stream, rendition=entry.spec.rendition)
            name = compound_id(entry.spec.stream, entry.spec.rendition)
            yield await _give(bus, "hw-encode", "stop", f"rendition {name}", stop_rendition, RenditionChanged)
    streams = {item.stream for item in plan.streams}
    for source in status.streams:
        if source.spec.stream not in streams:
            stop_stream = StopStream(stream=source.spec.stream)
            yield await _give(bus, "capture", "stop", f"stream {source.spec.stream}", stop_stream, StreamChanged)


async def _give(
    bus: Bus, service: str, verb: str, what: str, request: msgspec.Struct, reply_type: type[Reply]
) -> Applied:
    timeout = getattr(request, "wait_s", 0.0) + _REPLY_MARGIN_SECONDS
    try:
        reply = await bus.request(command(service, verb), request, reply_type, timeout)
    except MeshError as error:
        return Applied(what, verb, error.code, error=error.info)
    return Applied(what, verb, reply.code, state=reply.actual.state if reply.actual else "")
