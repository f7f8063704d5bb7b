"""What is told of one mix: its state in the mesh, and the events of its inputs."""

import time
from typing import Any

import msgspec

from schemas.errors import ErrorInfo
from schemas.mix_resources import Box, MixActual, MixInputActual
from services.cloud_mix_proxy.mixer.protocol import Report
from services.cloud_mix_proxy.mixes.input_troubles import with_trouble
from services.cloud_mix_proxy.mixes.layout import ReadyLayout
from services.cloud_mix_proxy.mixes.parts import MixParts

# Rates and counters alone are told so often: everybody in the mesh who watches states hears of each change.
_FIGURES_SECONDS = 5.0


class MixStateTeller:
    """Belongs to one mix; every change goes through `tell`."""

    def __init__(self, mix: str, parts: MixParts) -> None:
        self._mix, self._parts = mix, parts
        self.actual = MixActual(mix=mix, node=parts.context.node, revision=0, state="starting", since_ns=time.time_ns())
        self._told_at = 0.0
        self.refused: ErrorInfo | None = None
        """Why the newest spec is not what is seen; told for as long as that is so."""
        self.report = Report()
        """The newest of the process that runs."""

    def begin(self, revision: int, before: MixActual | None) -> None:
        """It is started here, for the first time or, with what was said `before`, again."""
        again = before is not None and before.started_ns > 0 and before.state != "ended"
        self.actual = MixActual(
            mix=self._mix,
            node=self._parts.context.node,
            revision=revision,
            state="starting",
            since_ns=time.time_ns(),
            # Of who is killed once more before it is seen again.
            applied_revision=before.applied_revision if before is not None and again else 0,
            started_ns=before.started_ns if before is not None and again else 0,
            restarts=before.restarts + 1 if before is not None and again else 0,
        )
        self.tell()

    def tell(self, **changes: Any) -> None:
        if changes.get("state", self.actual.state) != self.actual.state:
            changes["since_ns"] = time.time_ns()
        self.actual = msgspec.structs.replace(self.actual, **changes)
        self._told_at = time.monotonic()
        self._parts.reporter.report(self._mix, self.actual)

    def event(self, name: str, error: ErrorInfo | None = None, **detail: Any) -> None:
        self._parts.context.event(self._mix, name, error=error, detail=detail)

    def shown(self, layout: ReadyLayout, boxes: dict[str, Box]) -> None:
        """The process shows this layout now."""
        first = not self.actual.started_ns
        streams = layout.streams()
        before = {one.input: one for one in self.actual.inputs}
        inputs = tuple(
            msgspec.structs.replace(
                before.get(name, MixInputActual(input=name, since_ns=time.time_ns())),
                stream=streams.get(name, ""),
                box=boxes.get(name),
            )
            for name in (one.input for one in layout.spec.inputs)
        )
        self.tell(
            state="running",
            # With the answer only: who waits for this revision takes what is told with it for the outcome.
            revision=max(self.actual.revision, layout.revision),
            error=self.refused,
            applied_revision=layout.revision,
            inputs=inputs,
            started_ns=self.actual.started_ns or time.time_ns(),
        )
        if first:
            self.event("mix-started", inputs=[one.input for one in inputs])

    def take(self, report: Report) -> None:
        """What the process says of itself; who lost an input, or has it back, is told at once."""
        self.report = report
        streams = {one.input: one.stream for one in self.actual.inputs}
        made = self._parts.made
        named = (msgspec.structs.replace(one, stream=streams.get(one.input, one.stream)) for one in report.inputs)
        # A still picture has no stream.
        now = tuple(with_trouble(one, made.actual(one.stream) if one.stream else None) for one in named)
        before = {one.input: one.state for one in self.actual.inputs}
        changed = [one for one in now if before.get(one.input) != one.state]
        said = {one.input: one.error for one in self.actual.inputs} != {one.input: one.error for one in now}
        if not (changed or said) and time.monotonic() - self._told_at < _FIGURES_SECONDS:
            self.actual = msgspec.structs.replace(self.actual, fps=report.fps, late=report.late)
            return
        self.tell(inputs=now, fps=round(report.fps, 2), late=report.late)
        for one in changed:
            if one.state in ("lost", "ended"):
                self._parts.counts.lost_inputs += 1
                self.event("input-lost", error=one.error, input=one.input, stream=one.stream)
            elif one.state == "live" and before.get(one.input) in ("lost", "ended"):
                self.event("input-back", input=one.input, stream=one.stream)
