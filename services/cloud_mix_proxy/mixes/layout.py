"""A layout with all that it needs at hand, and the streams that belong to it."""

from dataclasses import dataclass, field

from schemas.mix_resources import MixSpec
from schemas.resources import StreamSpec
from services.cloud_mix_proxy.mixer.protocol import Layout, Still
from services.cloud_mix_proxy.mixes.sources import kind_of, stream_of
from services.cloud_mix_proxy.mixes.stills import StillFile

SAMPLE_RATE = 48_000  # of all raw sound in the mesh


@dataclass(frozen=True)
class ReadyLayout:
    """What the process of a mix can show without asking anybody."""

    spec: MixSpec = field(repr=False)
    """With full addresses. Secret."""
    revision: int
    stills: dict[str, StillFile] = field(repr=False)
    """By full source."""

    def streams(self) -> dict[str, str]:
        """By input: whose pictures it is; still pictures are not in it."""
        found = {one.input: stream_of(self.spec.mix, one) for one in self.spec.inputs}
        return {name: stream for name, stream in found.items() if stream is not None}

    def message(self) -> Layout:
        return Layout(
            revision=self.revision,
            spec=self.spec,
            streams=self.streams(),
            stills={source: still.digest for source, still in self.stills.items()},
        )

    def files(self, known: frozenset[str] = frozenset()) -> list[Still]:
        """The still pictures but for those that are `known`, by digest."""
        new = {still.digest: still.data for still in self.stills.values() if still.digest not in known}
        return [Still(digest=digest, data=data) for digest, data in new.items()]

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(still.digest for still in self.stills.values())

    def stream_specs(self, node: str) -> dict[str, StreamSpec]:
        """The mix's own stream and those of its inputs that have to be made, by id."""
        spec = self.spec
        channels = spec.channels if spec.sound else 0
        own = StreamSpec(
            stream=spec.mix,
            source=f"mix://?fps={spec.fps:g}&sample_rate={SAMPLE_RATE}&channels={channels}",
            node=node,
            made_for=spec.mix,
        )
        specs = {spec.mix: own}
        for one in spec.inputs:
            stream = stream_of(spec.mix, one)
            if stream is not None and kind_of(one) == "made":
                specs[stream] = StreamSpec(
                    stream=stream,
                    source=one.source,
                    node=node,
                    loop=one.loop,
                    public_only=spec.public_only,
                    made_for=spec.mix,
                    # The mix says itself what is seen of a lost input.
                    on_loss="none",
                )
        return specs
