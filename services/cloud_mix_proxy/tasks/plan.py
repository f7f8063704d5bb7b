"""The resources that a task is made of: its rules in the mesh's own words."""

import hashlib
from typing import Final, NamedTuple, get_args

from schemas.cloud_mix import MixedRules
from schemas.encoding import AudioSampleRate
from schemas.errors import InvalidValue
from schemas.mix_resources import Box, MixInput, MixLogo, MixSpec, check_mix
from schemas.packets import VideoCodec
from schemas.resources import OutputSpec, RenditionSpec
from services.cloud_mix_proxy.tasks.push_address import push_url

RENDITION: Final = "main"
_MESH: Final = "mesh://"
_CODECS: Final[dict[str, VideoCodec]] = {"h264": "h264", "h265": "hevc"}
_ID_DIGITS: Final = 12  # of a digest: two of eight sources never share them


class Limits(NamedTuple):
    """What every task has, whatever it asks for."""

    public_only: bool
    lost_seconds: int
    hours: float


class Plan(NamedTuple):
    mix: MixSpec
    rendition: RenditionSpec
    outputs: tuple[OutputSpec, ...]


def mix_of(task: str) -> str:
    """The mix, and so the stream, of a task."""
    return f"mix-{task}"


def input_of(source: str) -> str:
    """The mix's input for a source, whose own name may be any text; the same as long as that is."""
    return hashlib.sha256(source.encode()).hexdigest()[:_ID_DIGITS]


def source_names(rules: MixedRules) -> dict[str, str]:
    """The client's name of each source, by input."""
    return {input_of(source.id): source.id for source in rules.input_source}


def plan(task: str, rules: MixedRules, node: str, limits: Limits) -> Plan:
    """What must be there for `task`.

    Raises:
        InvalidValue: names the API's field; this can never work.
    """
    scene, output = rules.input_layout.scene, rules.output
    # Streams of the mesh are mixed where their pictures are, which the owner of mixes finds out.
    wanted_node = None if any(source.url.startswith(_MESH) for source in rules.input_source) else node
    boxes = {place.layer: Box(x=place.x, y=place.y, width=place.w, height=place.h) for place in scene.layout}
    inputs = []
    for number, source in enumerate(rules.input_source):
        if source.layer not in boxes:
            raise InvalidValue(
                f"MixedRules.InputSource.{number}.Layer", source.layer, "Scene.Layout needs a place of this layer"
            )
        inputs.append(
            MixInput(
                input=input_of(source.id),
                source=source.url,
                still=source.type == "pic",
                box=boxes[source.layer],
                layer=source.layer,
            )
        )
    mix = MixSpec(
        mix=mix_of(task),
        inputs=tuple(inputs),
        layout="free",
        # Encoders take whole pairs of pixels only.
        size=f"{_even(scene.width)}x{_even(scene.height)}",
        fps=float(output.video.frame_rate),
        logos=tuple(
            MixLogo(source=one.url, box=Box(x=one.layout.x, y=one.layout.y, width=one.layout.w, height=one.layout.h))
            for one in rules.input_layout.logo
        ),
        channels=1 if output.audio.channel_layout == "mono" else 2,
        node=wanted_node,
        end_when_lost=f"{limits.lost_seconds}s",
        end_after=f"{limits.hours:g}h",
        public_only=limits.public_only,
    )
    check_mix(mix)
    rendition = RenditionSpec(
        stream=mix.mix,
        rendition=RENDITION,
        codec=_CODECS[output.video.codec],
        bitrate=str(output.video.bit_rate),
        key_interval=f"{output.video.gop}s",
        audio_bitrate=str(output.audio.bit_rate),
        audio_sample_rate=_nearest_rate(output.audio.sample_rate),
        always=True,  # it is what the task is for: an output that comes back finds it running
    )
    outputs: dict[str, OutputSpec] = {}
    for number, address in enumerate(output.url, 1):
        url = push_url(address, task, f"MixedRules.Output.Url.{number - 1}", limits.public_only)
        # Of two who push to one address the server turns one away, again and again.
        outputs.setdefault(
            url,
            OutputSpec(
                stream=mix.mix,
                output=f"out{number}",
                to=url,
                rendition=RENDITION,
                node=wanted_node,
                public_only=limits.public_only,
            ),
        )
    return Plan(mix, rendition, tuple(outputs.values()))


def _nearest_rate(sample_rate: int) -> AudioSampleRate:
    """AAC has some rates only; 22000, which others of the kind name, is its 22050."""
    rates: tuple[AudioSampleRate, ...] = get_args(AudioSampleRate)
    return min((rate for rate in rates if rate), key=lambda rate: abs(rate - sample_rate))


def _even(pixels: int) -> int:
    return pixels + pixels % 2
