"""What a command's spec is held against before it is written: the streams that there are, and the other mixes."""

import msgspec

from schemas.errors import Conflict, InvalidValue, Unavailable
from schemas.mix_resources import MixSpec
from services.cloud_mix_proxy.mixes.made_streams import CAPTURE, Streams
from services.cloud_mix_proxy.mixes.parts import Mixes
from services.cloud_mix_proxy.mixes.secrets import SERVICE
from services.cloud_mix_proxy.mixes.sources import check_sources, kind_of, stream_of
from shared.state import StateMirrors


class Checks:
    def __init__(self, mirrors: StateMirrors, mixes: Mixes, streams: Streams, node: str) -> None:
        self._mirrors, self._mixes, self._streams, self._node = mirrors, mixes, streams, node

    async def placed(self, spec: MixSpec) -> MixSpec:
        """The spec with the node where its pictures are.

        Raises:
            InvalidValue: it can never work; names the field.
            Conflict: a stream has the name of the mix.
            BadRequest: several nodes could make it.
        """
        if spec.sources_secret:
            raise InvalidValue("sources_secret", spec.sources_secret, "leave it out; write the full URLs in source")
        check_sources(spec)
        node = await self._node_of_inputs(spec)
        if node is None:
            node = self._mirrors.choose_node(SERVICE, spec.node, self._node)
        elif spec.node not in (None, node):
            raise InvalidValue("node", spec.node, f"the pictures of its inputs are on node {node}; leave it out")
        self._refuse_circle(spec)
        await self._refuse_taken(spec)
        return msgspec.structs.replace(spec, node=node)

    def refuse_without_owner(self, spec: MixSpec) -> None:
        """Raises:
        Unavailable: nobody on its node could make it.
        """
        nodes = {presence.node for presence in self._mirrors.present(SERVICE)} | {self._node}
        if spec.node not in nodes:
            fix = f"it runs on {', '.join(sorted(nodes))}; start it there, or choose inputs of another node"
            raise Unavailable(f"node {spec.node!r}: no {SERVICE} runs there; {fix}")

    async def _node_of_inputs(self, spec: MixSpec) -> str | None:
        """None: none of them is a stream of the mesh."""
        found: str | None = None
        for number, one in enumerate(spec.inputs):
            stream = stream_of(spec.mix, one)
            if stream is None or kind_of(one) != "stream":
                continue
            there = await self._streams.find(stream)
            if there is None:
                fix = f"there is no such stream; start it first with {CAPTURE}.start"
                raise InvalidValue(f"inputs.{number}.source", one.source, fix)
            node = there[0].node or self._node
            if found not in (None, node):
                fix = f"its pictures are on node {node}, those before it on {found}; a mix is made of one node's"
                raise InvalidValue(f"inputs.{number}.source", one.source, fix)
            found = node
        return found

    def _refuse_circle(self, spec: MixSpec) -> None:
        inputs = {mix: _streams_in(other) for mix, other, _, _ in self._mixes.all()} | {spec.mix: _streams_in(spec)}
        reached, look = set[str](), [spec.mix]
        while look:
            for stream in inputs.get(look.pop(), ()):
                if stream == spec.mix:
                    names = ", ".join(sorted(_streams_in(spec) & inputs.keys()))
                    raise InvalidValue("inputs", names, f"{spec.mix} is an input of it itself, by way of others")
                if stream not in reached:
                    reached.add(stream)
                    look.append(stream)

    async def _refuse_taken(self, spec: MixSpec) -> None:
        made = [stream for one in spec.inputs if (stream := stream_of(spec.mix, one)) and kind_of(one) == "made"]
        for stream in (spec.mix, *made):
            there = await self._streams.find(stream)
            if there is not None and there[0].made_for != spec.mix:
                raise Conflict(
                    f"a stream {stream!r} exists already; choose another name, or stop it first with {CAPTURE}.stop"
                )


def _streams_in(spec: MixSpec) -> set[str]:
    return {stream for one in spec.inputs if (stream := stream_of(spec.mix, one)) is not None}
