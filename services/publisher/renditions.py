"""Which renditions an output can have."""

from pathlib import Path
from typing import get_args

from schemas.errors import Conflict, NotFound
from schemas.ids import Id, compound_id
from schemas.packets import VideoCodec
from schemas.resources import OutputSpec, RenditionActual, RenditionSpec, StreamActual
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION
from services.publisher.opening import NO_REORDERED, cannot_carry
from services.publisher.outputs.base import Output
from shared.desired import Desired
from shared.packet_ring import PacketRingReader
from shared.ring import RingError
from shared.state import StateMirrors


async def check_rendition(mirrors: StateMirrors, stream: Id, rendition: Id, source: StreamActual | None) -> None:
    """Refuse a rendition that nobody will ever make: the output would wait for it without a word.

    `source`: the stream's state, when it is known.

    Raises:
        NotFound: names it, and the command that makes it.
    """
    if rendition == SOURCE_RENDITION:
        if source and source.state == "live" and source.video and not source.source_tracks:
            raise NotFound(f"{stream} has no packets of its own that can be carried; use rendition main")
    elif rendition != DEFAULT_RENDITION and not has_layer(source, rendition):
        renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)
        if await renditions.find(compound_id(stream, rendition)) is None:
            raise NotFound(f"{stream} has no rendition {rendition!r}; make it first with hw-encode.start")


def has_layer(source: StreamActual | None, rendition: Id) -> bool:
    """Whether it is one of the sizes that the stream's publisher sends (simulcast)."""
    return source is not None and any(layer.rendition == rendition for layer in source.layers)


def check_carried(
    mirrors: StateMirrors, folder: Path, spec: OutputSpec, output: type[Output], source: StreamActual | None
) -> None:
    """Refuse a rendition whose pictures the output cannot take, where that is known before they come. Blocks briefly.

    `folder`: where the packet rings of this node are; a source shows its B-frames only in its packets.

    Raises:
        Conflict: why, and what to do.
    """
    codec, reordered = "", False
    if spec.rendition == SOURCE_RENDITION or has_layer(source, spec.rendition):
        codec = source.video.codec if source and source.video else ""
        reordered = not output.takes_reordered and _has_reordered(folder, spec.stream)
    elif found := Desired("hw-encode", RenditionSpec, RenditionActual, mirrors).spec(
        compound_id(spec.stream, spec.rendition)
    ):
        codec, reordered = found[0].codec, found[0].b_frames > 0 and not output.takes_reordered
    why = cannot_carry(output.video_codecs, codec) if codec in get_args(VideoCodec) else ""
    if why or reordered:
        raise Conflict(f"output {compound_id(spec.stream, spec.output)} {why or NO_REORDERED}")


def _has_reordered(folder: Path, stream: Id) -> bool:
    try:
        with PacketRingReader.open_latest(folder, stream, SOURCE_RENDITION) as ring:
            return any(header.reordered for header, _ in ring.from_last_key())
    except (RingError, LookupError):  # not on this node, or nobody has needed it yet: its packets will tell
        return False
