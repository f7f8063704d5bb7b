"""How much shared memory a mesh needs, with the arithmetic."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from msgspec import Meta, Struct

from schemas.mesh_file import MeshPlan
from schemas.mix_resources import MixSpec
from schemas.resources import RenditionSpec, StreamSpec, VideoInfo
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION
from schemas.units import parse_size
from services.cli.table import table
from shared.packet_ring import PacketRingSettings, RingSize
from shared.ring.layout import HEADER_BYTES, PAGE_BYTES, SLOT_HEADER_BYTES, RingGeometry, round_up_to_page
from shared.ring.writer import DEFAULT_SLOTS

ASSUMED_SIZE: Final = "1920x1080"
"""Of a camera whose size nobody has said; `size` in mesh.yaml says it, and a running mesh knows it."""
ASSUMED_FPS: Final = 30.0
_PATTERN_SIZE: Final = "1280x720"
SMALLER_RENDITION: Final = "low"  # the gateway makes it for viewers whose line is thin
_STEP_BYTES: Final = 64 << 20  # what is told is rounded up to this: a size that people can read and compare
# Whose own packets are not carried: their pictures come as pictures.
_WITHOUT_PACKETS: Final = ("test", "app", "screen", "images", "mix", "genicam")


class CaptureRings(PacketRingSettings, frozen=True, kw_only=True):
    """What of capture's settings says how large its rings are; a test holds it against them."""

    ring_slots: Annotated[int, Meta(ge=4, le=64)] = DEFAULT_SLOTS


class RingNeed(Struct, frozen=True, kw_only=True):
    """One file in shared memory."""

    ring: str
    """`cam0` (pictures) or `cam0/main` (packets)."""
    bytes: int
    because: str
    assumed: bool = False
    """The size of its pictures is not known."""


class ShmNeeds(Struct, frozen=True, kw_only=True):
    """All of them."""

    bytes: int
    """To give the tmpfs."""
    megabytes: int
    """The same in MiB, as `size=…m` takes it."""
    rings: tuple[RingNeed, ...]
    spare_bytes: int
    """While pictures change their size, and while a ring is made anew, the old one and the new one are both there."""


def needs_of_plan(plan: MeshPlan, capture: CaptureRings, encode: PacketRingSettings) -> ShmNeeds:
    """What a mesh.yaml needs on the node where all of it runs."""
    return shm_needs(plan.streams, plan.renditions, plan.mixes, capture, encode, {})


def shm_needs(
    streams: Iterable[StreamSpec],
    renditions: Iterable[RenditionSpec],
    mixes: Iterable[MixSpec],
    capture: CaptureRings,
    encode: PacketRingSettings,
    seen: Mapping[str, VideoInfo],
) -> ShmNeeds:
    """`seen`: what is known of the pictures of streams that run."""
    needs: list[RingNeed] = []
    named = {(one.stream, one.rendition): one for one in renditions}
    names: list[str] = []
    for stream in streams:
        names.append(stream.stream)
        needs.append(_pictures(stream, capture.ring_slots, seen.get(stream.stream)))
        if urlsplit(stream.source).scheme not in _WITHOUT_PACKETS:
            size = capture.ring_size(stream.history)
            needs.append(_packets(stream.stream, SOURCE_RENDITION, size, "the source's own"))
    for mix in mixes:
        names.append(mix.mix)
        width, height = parse_size(mix.size)
        needs.append(_frames(mix.mix, RingGeometry("yuv420p", width, height), DEFAULT_SLOTS, mix.fps, assumed=False))
    needs += [
        _packets(name, rendition, encode.ring_size(None), "made for viewers on demand")
        for name in names
        for rendition in (DEFAULT_RENDITION, SMALLER_RENDITION)
        if (name, rendition) not in named
    ]
    needs += [
        _packets(spec.stream, spec.rendition, encode.ring_size(spec.history), spec.codec) for spec in named.values()
    ]
    spare_bytes = max((need.bytes for need in needs), default=0)
    total = sum(need.bytes for need in needs) + spare_bytes
    total = max(1, -(-total // _STEP_BYTES)) * _STEP_BYTES
    rings = tuple(sorted(needs, key=lambda need: need.ring))
    return ShmNeeds(bytes=total, megabytes=total >> 20, rings=rings, spare_bytes=spare_bytes)


def _pictures(stream: StreamSpec, slots: int, seen: VideoInfo | None) -> RingNeed:
    asked = parse_qs(urlsplit(stream.source).query) if stream.source.startswith(("test:", "screen:")) else {}
    fps = stream.fps or (seen.fps if seen else 0) or float((asked.get("fps") or [""])[0] or ASSUMED_FPS)
    size = stream.size or (asked.get("size") or [""])[0]
    # The moving pattern is 1280x720 where nothing is said; cameras say nothing of themselves beforehand.
    assumed = not size and not stream.source.startswith("test:")
    width, height = parse_size(size or (ASSUMED_SIZE if assumed else _PATTERN_SIZE))
    if seen is not None and seen.width:
        width, height, assumed = seen.width, seen.height, False
    pixel_format = (seen.pixel_format if seen else None) or stream.pixel_format or "yuv420p"
    geometry = RingGeometry(pixel_format, width + width % 2, height + height % 2)
    return _frames(stream.stream, geometry, slots, fps, assumed=assumed)


def _frames(name: str, geometry: RingGeometry, slots: int, fps: float, *, assumed: bool) -> RingNeed:
    stride = round_up_to_page(geometry.frame_bytes)
    total = HEADER_BYTES + round_up_to_page(slots * SLOT_HEADER_BYTES) + slots * stride
    guess = "assumed " if assumed else ""
    return RingNeed(
        ring=name,
        bytes=total,
        because=f"{slots} pictures of {guess}{geometry.width}x{geometry.height} {geometry.pixel_format},"
        f" {stride} bytes each: {slots / fps:.2g} s at {fps:g} fps",
        assumed=assumed,
    )


def _packets(stream: str, rendition: str, size: RingSize, what: str) -> RingNeed:
    return RingNeed(
        ring=f"{stream}/{rendition}",
        bytes=size.max_bytes + PAGE_BYTES,
        because=f"packets, {what}: the last {size.seconds:g} s, at most {size.max_bytes >> 20} MiB",
    )


def describe(needs: ShmNeeds) -> str:
    """The sum, and how it comes about."""
    rows = [("RING", "MiB", "WHY"), *((n.ring, f"{n.bytes / 2**20:.1f}", n.because) for n in needs.rings)]
    rows.append(("(spare)", f"{needs.spare_bytes / 2**20:.1f}", "the largest once more, while it is made anew"))
    lines = [*table(rows), "", f"{needs.bytes} bytes: size={needs.megabytes}m, in whole {_STEP_BYTES >> 20} MiB"]
    if any(need.assumed for need in needs.rings):
        lines.append(
            f"Sizes that are not known are taken for {ASSUMED_SIZE}: say `size` in mesh.yaml, or ask the running mesh."
        )
    return "\n".join(lines)
