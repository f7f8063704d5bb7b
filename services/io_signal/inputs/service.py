"""Commands of inputs, and the inputs of this node."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from schemas.errors import Conflict
from schemas.resources import StreamActual, StreamSpec
from schemas.signal_resources import INPUT_STATES, InputActual, InputEntry, InputSpec
from schemas.signals import InputChanged, StartInput, StopInput
from schemas.subjects import command
from services.io_signal.inputs.checks import check_input
from services.io_signal.inputs.followed import Streams
from services.io_signal.inputs.following import Following
from services.io_signal.inputs.frame_times import FrameTimes
from services.io_signal.inputs.metrics import register_metrics
from services.io_signal.inputs.parts import SERVICE, AllInputs, InputParts
from services.io_signal.inputs.runner import InputRunner, failed
from services.io_signal.inputs.values import ValuePoster
from services.io_signal.link.hand_link import HandLink
from services.io_signal.names import check_name
from shared.bus import Endpoint
from shared.demand import Wants
from shared.desired import error_in_reply
from shared.reconcile import Reconciler, Reporter
from shared.service import Context
from shared.state import StateMirrors


class Inputs:
    """Any instance answers; the one on the input's node listens."""

    def __init__(self, context: Context[Any], mirrors: StateMirrors, hand: HandLink, wants: Wants, most: int) -> None:
        """`most`: inputs of one node."""
        self._context, self._node, self._mirrors, self._most = context, context.node, mirrors, most
        self._inputs = AllInputs(INPUT_STATES, InputSpec, InputActual, mirrors, owner=SERVICE)
        streams = Streams("capture", StreamSpec, StreamActual, mirrors)
        reporter = Reporter(context, INPUT_STATES)
        context.stack.push_async_callback(reporter.flush)
        self._following = Following(context.node, context.bus, wants, streams)
        values = ValuePoster(context.bus)
        context.spawn(values.run(), "values-of-inputs")
        parts = InputParts(context, reporter, self._inputs, hand, self._following, values)
        self._reconciler: Reconciler[InputSpec, InputRunner] = Reconciler(
            context, reporter, lambda name: InputRunner(name, parts), failed(parts)
        )
        context.stack.push_async_callback(self._reconciler.close)
        self._reconciler.keep(self._inputs, lambda: self._inputs.owned(context.node))
        register_metrics(context.figures, self._reconciler.runners, self._following)

    @property
    def times(self) -> FrameTimes:
        """Of the pictures of streams that inputs of this node name."""
        return self._following.times

    def look_on(self, streams: Callable[[], Collection[str]]) -> None:
        """Know the pictures of these streams as well, now and after every change of what is asked for."""

        def changed() -> None:
            self._following.look_on(streams())

        changed()
        self._context.stack.push_async_callback(self._following.close)
        self._context.stack.callback(self._inputs.on_changed(changed))

    # -- commands --------------------------------------------------------------------------------------------

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "start-input"), StartInput, InputChanged, self.start, error_in_reply),
            Endpoint(command(SERVICE, "stop-input"), StopInput, InputChanged, self.stop),
        ]

    def entries(self) -> tuple[InputEntry, ...]:
        """Every input of the mesh, by name."""
        return tuple(
            InputEntry(revision=revision, spec=spec, actual=actual)
            for _, spec, revision, actual in self._inputs.shown()
        )

    async def start(self, request: StartInput) -> InputChanged:
        """Listen to an input, or change how.

        Raises:
            InvalidValue, BadRequest: the spec can never work.
            Conflict: stale revision, its name is taken, too many inputs, or another one tells its value.
        """
        check_input(request)
        check_name(self._mirrors, INPUT_STATES, request.input)
        spec = InputSpec(**{name: getattr(request, name) for name in InputSpec.__struct_fields__})
        spec = msgspec.structs.replace(spec, node=self._mirrors.choose_node(SERVICE, spec.node, self._node))
        others = [other for name, other, _, _ in self._inputs.all() if name != spec.input]
        if sum(other.node == spec.node for other in others) >= self._most:
            fix = "stop one, or raise FRAMEMESH_IO_SIGNAL_MAX_INPUTS"
            raise Conflict(f"node {spec.node} has {self._most} inputs; {fix}")
        for other in others:
            if spec.attach is not None and (other.stream, other.attach) == (spec.stream, spec.attach):
                raise Conflict(
                    f"attach: input {other.input} tells {spec.attach} of {spec.stream} already; choose another name"
                )
        return await self._inputs.apply(spec.input, spec, request, InputChanged)

    async def stop(self, request: StopInput) -> InputChanged:
        """Listen no more.

        Raises:
            NotFound: there is none of that name.
            Conflict: stale revision.
        """
        return await self._inputs.withdraw(request.input, request, InputChanged)
