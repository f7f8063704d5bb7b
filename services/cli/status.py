"""What runs in the mesh, and how it is.

examples:
  framemesh status
  framemesh status --json | jq '.streams[].actual.state'
"""

import argparse

import msgspec

from schemas.commands import MeshStatus
from schemas.resources import RenditionSpec, VideoInfo
from schemas.signal_resources import (
    INPUT_STATES,
    RULE_STATES,
    SIGNAL_STATES,
    InputActual,
    InputEntry,
    InputSpec,
    RuleActual,
    RuleEntry,
    RuleSpec,
    SignalActual,
    SignalEntry,
    SignalSpec,
)
from services.cli.connection import add_nats_argument, connected
from services.cli.fleet_text import member_name
from services.cli.mix_text import mix_table
from services.cli.signal_text import input_table, rule_table, signal_table, troubles
from services.cli.table import printable, table
from shared.desired import Desired
from shared.state import StateMirrors
from shared.status import mesh_status

HELP = "what runs, and how it is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    async with connected(options) as bus:
        mirrors = await StateMirrors.open(bus)
        try:
            status = whole_status(mirrors)
        finally:
            await mirrors.close()
    print(msgspec.json.encode(status).decode() if options.json else describe(status))
    return 0


class WholeStatus(MeshStatus, frozen=True, kw_only=True):
    """The mesh with its machines, whose state the console asks for itself."""

    signals: tuple[SignalEntry, ...] = ()
    inputs: tuple[InputEntry, ...] = ()
    rules: tuple[RuleEntry, ...] = ()


def whole_status(mirrors: StateMirrors) -> WholeStatus:
    signals = Desired(SIGNAL_STATES, SignalSpec, SignalActual, mirrors, owner="io-signal")
    inputs = Desired(INPUT_STATES, InputSpec, InputActual, mirrors, owner="io-signal")
    rules = Desired(RULE_STATES, RuleSpec, RuleActual, mirrors, owner="io-signal")
    return WholeStatus(
        **msgspec.structs.asdict(mesh_status(mirrors)),
        signals=tuple(SignalEntry(revision=rev, spec=spec, actual=act) for _, spec, rev, act in signals.shown()),
        inputs=tuple(InputEntry(revision=rev, spec=spec, actual=act) for _, spec, rev, act in inputs.shown()),
        rules=tuple(RuleEntry(revision=rev, spec=spec, actual=act) for _, spec, rev, act in rules.shown()),
    )


def describe(status: WholeStatus) -> str:
    """The state of the mesh as a text of a few tables."""
    names = [f"{member_name(p.service, p.number)}@{p.node}" for p in status.services]
    lines = ["SERVICES  " + ("  ".join(names) or "none are running")]
    lines += [f"PULL      {p.rtsp_url}<stream>[/<rendition>]" for p in status.services if p.rtsp_url]
    if not status.streams:
        lines += [
            "",
            "No streams yet. Add one:",
            '  framemesh call capture.start \'{"stream":"cam0","source":"test://"}\'',
        ]
    problems = list[str]()
    for part in (_streams, _machines):
        more, wrong = part(status)
        lines, problems = lines + more, problems + wrong
    if problems:
        lines += ["", "PROBLEMS", *(f"  {printable(problem)}" for problem in problems)]
    return "\n".join(lines)


def _streams(status: WholeStatus) -> tuple[list[str], list[str]]:
    """Lines, and what is wrong."""
    lines, problems = list[str](), list[str]()
    if not status.streams:
        return lines, problems
    rows = [("STREAM", "STATE", "PICTURE", "SOURCE")]
    for stream in status.streams:
        actual = stream.actual
        video = actual.video if actual else None
        rows.append((stream.spec.stream, actual.state if actual else "no owner", _picture(video), stream.spec.source))
        if actual and actual.error:
            problems.append(f"{stream.spec.stream}: {actual.error.message}")
    lines += ["", *table(rows)]
    renditions = [("RENDITION", "STATE", "ENCODER", "PICTURE", "RATE")]
    for rendition in status.renditions:
        state = rendition.actual
        name = f"{rendition.spec.stream}/{rendition.spec.rendition}"
        encoder = (
            f"{state.encoder} ({'hardware' if state.hardware else 'software'})" if state and state.encoder else "-"
        )
        encoded = _picture(state.video if state else None)
        renditions.append((name, state.state if state else "no owner", encoder, encoded, _rate(rendition.spec)))
        if state and state.error:
            problems.append(f"{name}: {state.error.message}")
    lines += ["", *table(renditions)]
    if status.mixes:
        lines += ["", *mix_table(status.mixes)]
        problems += [f"{e.spec.mix}: {e.actual.error.message}" for e in status.mixes if e.actual and e.actual.error]
    if status.outputs:
        rows = [("OUTPUT", "STATE", "WRITTEN", "TO")]
        for output in status.outputs:
            done = output.actual
            name = f"{output.spec.stream}/{output.spec.output}"
            written = f"{done.bytes_written / 1e6:.1f} MB" if done else "-"
            where = done.file if done and done.file else output.spec.to
            rows.append((name, done.state if done else "no owner", written, where))
            if done and done.error:
                problems.append(f"{name}: {done.error.message}")
        lines += ["", *table(rows)]
    return lines, problems


def _machines(status: WholeStatus) -> tuple[list[str], list[str]]:
    lines = list[str]()
    if status.signals:
        lines += ["", *signal_table(status.signals)]
    if status.inputs:
        lines += ["", *input_table(status.inputs)]
    if status.rules:
        lines += ["", *rule_table(status.rules)]
    return lines, troubles((*status.signals, *status.inputs, *status.rules))


def _picture(video: VideoInfo | None) -> str:
    return f"{video.width}x{video.height} {video.codec} {video.fps:g} fps" if video and video.width else "-"


def _rate(spec: RenditionSpec) -> str:
    return spec.bitrate if spec.rate_control in ("cbr", "vbr") else f"{spec.rate_control} {spec.quality}"
