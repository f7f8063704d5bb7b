"""mesh.yaml: what a mesh shall be, as people write it. The minimal form is two lines:

streams:
  cam0: rtsp://camera.local/stream1
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from schemas.commands import StartOutput, StartRendition, StartStream
from schemas.encoding import AudioSampleRate, RateControl, check_encoding
from schemas.errors import BadRequest
from schemas.file_entry import read_entry
from schemas.frames import Delivery
from schemas.ids import Id, check_id
from schemas.mix_file import mix_from_mapping
from schemas.mix_resources import MixSpec
from schemas.pictures import PictureSettings, check_pictures
from schemas.resources import EncoderPolicy, Fit, OnLoss, OutputFormat, WhenFull
from schemas.sample_resources import check_sample
from schemas.samples import StartSample
from schemas.sampling import PictureOptions
from schemas.signal_file import input_from_mapping, rule_from_mapping, signal_from_mapping
from schemas.signals import StartInput, StartRule, StartSignal
from schemas.units import BitrateText, BytesText, DurationText, SizeText, parse_duration

StartT = TypeVar("StartT")

_OF_STREAM = ("renditions", "outputs", "samples")  # of a mix too, as it is a stream
_SECTIONS = ("streams", "mixes", "signals", "inputs", "rules", "defaults")


class RenditionInFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """See `schemas.resources.RenditionSpec`; what is not given comes from `defaults.renditions`."""

    codec: str | None = None
    bitrate: BitrateText | None = None
    rate_control: RateControl | None = None
    quality: int | None = None
    max_bitrate: BitrateText | None = None
    key_interval: DurationText | None = None
    fps: float | None = None
    encoder: EncoderPolicy | None = None
    preset: str | None = None
    size: SizeText | None = None
    fit: Fit | None = None
    b_frames: int | None = None
    history: DurationText | None = None
    queue: int | None = None
    when_full: WhenFull | None = None
    audio_bitrate: BitrateText | None = None
    audio_sample_rate: AudioSampleRate | None = None
    always: bool | None = None


class OutputInFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `schemas.resources.OutputSpec`."""

    to: str
    rendition: Id = "main"
    node: Id | None = None
    format: OutputFormat | None = None
    segment: DurationText | None = None
    segment_bytes: BytesText | None = None
    preroll: DurationText | None = None
    keep_for: DurationText | None = None
    keep_bytes: BytesText | None = None
    keep_free: BytesText | None = None


class SampleInFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """See `schemas.sample_resources.SampleSpec`."""

    to: str
    every: DurationText | None = None
    event: str | None = None
    motion: float | None = None
    scene: float | None = None
    levels: float | None = None
    quiet_for: DurationText | None = None
    at_most_every: DurationText | None = None
    pictures: PictureOptions | None = None
    keep_for: DurationText | None = None
    keep_bytes: BytesText | None = None


class StreamInFile(PictureSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `schemas.resources.StreamSpec`."""

    source: str
    node: Id | None = None
    transport: Literal["auto", "tcp", "udp"] = "auto"
    loop: bool = True
    audio: bool = True
    voice: bool = False
    timecode: bool = False
    delivery: Delivery = "live"
    stall_after: DurationText | None = None
    frozen_after: DurationText | None = None
    on_loss: OnLoss = "hold"
    history: DurationText | None = None
    renditions: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)


class Defaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    renditions: RenditionInFile = field(default_factory=RenditionInFile)


class MeshPlan(Struct, frozen=True, kw_only=True):
    """The commands that a mesh.yaml stands for, in the order they are given."""

    streams: tuple[StartStream, ...] = ()
    mixes: tuple[MixSpec, ...] = ()
    renditions: tuple[StartRendition, ...] = ()
    outputs: tuple[StartOutput, ...] = ()
    samples: tuple[StartSample, ...] = ()
    signals: tuple[StartSignal, ...] = ()
    inputs: tuple[StartInput, ...] = ()
    rules: tuple[StartRule, ...] = ()


def plan_from_mapping(document: Any) -> MeshPlan:
    """The plan of a parsed mesh.yaml.

    Raises:
        BadRequest: names the path of the offending field and the fix. Values of sections and streams are not
            shown: passwords are filled in by now.
    """
    if not isinstance(document, dict):
        raise BadRequest("mesh.yaml: write a mapping that starts with `streams:`")
    for key in document:
        if key not in _SECTIONS:
            raise BadRequest(f"{key}: no such section; there are {', '.join(sorted(_SECTIONS))}")
    defaults = read_entry(document.get("defaults") or {}, Defaults, "defaults")
    streams, mixes = [], []
    parts = _Parts(defaults)
    for name, raw in _mapping(document.get("streams"), "streams").items():
        path = f"streams.{name}"
        check_id(str(name), path)
        entry = read_entry({"source": raw} if isinstance(raw, str) else raw, StreamInFile, path)
        fields = msgspec.structs.asdict(entry)
        del fields["renditions"], fields["outputs"], fields["samples"]
        check_pictures(entry, f"{path}.")
        for key in ("stall_after", "frozen_after", "history"):
            if (text := getattr(entry, key)) is not None:
                parse_duration(text, f"{path}.{key}")
        streams.append(StartStream(stream=name, **fields))
        parts.take(name, path, entry.renditions, entry.outputs, entry.samples)
    for name, raw in _mapping(document.get("mixes"), "mixes").items():
        path = f"mixes.{name}"
        check_id(str(name), path)
        if any(stream.stream == name for stream in streams):
            raise BadRequest(f"{path}: a stream has this name, too; a mix is a stream of its own")
        given = dict(raw) if isinstance(raw, dict) else raw
        own = [given.pop(key, None) if isinstance(given, dict) else None for key in _OF_STREAM]
        mixes.append(mix_from_mapping(name, given, path))
        parts.take(name, path, *(_mapping(entry, f"{path}.{key}") for key, entry in zip(_OF_STREAM, own, strict=True)))
    _check_names(document)
    return MeshPlan(
        streams=tuple(streams),
        mixes=tuple(mixes),
        renditions=tuple(parts.renditions),
        outputs=tuple(parts.outputs),
        samples=tuple(parts.samples),
        signals=_named(document, "signals", signal_from_mapping),
        inputs=_named(document, "inputs", input_from_mapping),
        rules=_named(document, "rules", rule_from_mapping),
    )


class _Parts:
    """What belongs to streams, in the order of the file."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self.renditions: list[StartRendition] = []
        self.outputs: list[StartOutput] = []
        self.samples: list[StartSample] = []

    def take(
        self, name: str, path: str, renditions: dict[str, Any], outputs: dict[str, Any], samples: dict[str, Any]
    ) -> None:
        """Those of one stream or mix. Raises: BadRequest."""
        for rendition, text in renditions.items():
            where = f"{path}.renditions.{rendition}"
            given = {**_given(self._defaults.renditions), **_given(read_entry(text or {}, RenditionInFile, where))}
            request = {"stream": name, "rendition": str(rendition), **given}
            self.renditions.append(_check_units(read_entry(request, StartRendition, where), where))
        for output, text in outputs.items():
            where = f"{path}.outputs.{output}"
            fields = msgspec.structs.asdict(
                read_entry({"to": text} if isinstance(text, str) else text, OutputInFile, where)
            )
            self.outputs.append(read_entry({"stream": name, "output": str(output), **fields}, StartOutput, where))
        for sample, text in samples.items():
            where = f"{path}.samples.{sample}"
            fields = _given(read_entry(text, SampleInFile, where))
            start = read_entry({"stream": name, "sample": str(sample), **fields}, StartSample, where)
            check_sample(start, f"{where}.")
            self.samples.append(start)


def _check_names(document: dict[str, Any]) -> None:
    """Outputs, inputs and rules are told apart by name alone in their events. Raises: BadRequest."""
    taken: dict[str, str] = {}
    for section in ("signals", "inputs", "rules"):
        for name in _mapping(document.get(section), section):
            if (other := taken.setdefault(str(name), section)) != section:
                raise BadRequest(
                    f"{section}.{name}: one of {other} has this name, too, and their events would be mixed up"
                )


def _named(document: dict[str, Any], section: str, read: Callable[[str, Any, str], StartT]) -> tuple[StartT, ...]:
    """What a section of names and entries stands for, in the order of the file. Raises: BadRequest."""
    started = []
    for name, raw in _mapping(document.get(section), section).items():
        path = f"{section}.{name}"
        started.append(read(check_id(str(name), path), raw, path))
    return tuple(started)


def _check_units(request: StartRendition, path: str) -> StartRendition:
    # The services refuse these too, but by then half of the file's commands may have been given.
    check_encoding(request, f"{path}.")
    return request


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{path}: write a mapping of names")
    return value


def _given(entry: RenditionInFile | SampleInFile) -> dict[str, Any]:
    given = {name: value for name, value in msgspec.structs.asdict(entry).items() if value is not None}
    return {**given, **{name: msgspec.to_builtins(value) for name, value in given.items() if name == "pictures"}}
