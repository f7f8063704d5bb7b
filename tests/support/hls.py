"""Playlists read as a player reads them, and the rules that Apple's players hold them to (RFC 8216, and its bis)."""

import itertools
import math
import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

HLS_JS_VERSION = "1.7.4"
HLS_JS = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / f"framemesh-tests/hls.js-{HLS_JS_VERSION}.min.js"
)
"""Where ops/test-programs.sh puts it."""
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|$)')


def attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


@dataclass
class ListedPart:
    uri: str
    seconds: float
    independent: bool


@dataclass
class ListedSegment:
    """`uri` empty: it is still growing."""

    number: int
    discontinuity_number: int
    header: str
    uri: str = ""
    seconds: float = 0.0
    time_s: float = 0.0
    parts: list[ListedPart] = field(default_factory=list)


@dataclass
class Listed:
    segments: list[ListedSegment]
    target_seconds: int
    part_target_seconds: float
    part_hold_back_seconds: float
    hold_back_seconds: float
    blocks: bool
    hint: str
    ended: bool

    @property
    def whole(self) -> list[ListedSegment]:
        return [segment for segment in self.segments if segment.uri]

    @property
    def parts(self) -> list[ListedPart]:
        return [part for segment in self.segments for part in segment.parts]


def read_playlist(text: str) -> Listed:
    """Raises ValueError for a line that is none of what we send."""
    lines = text.splitlines()
    if lines[0] != "#EXTM3U":
        raise ValueError(lines[0])
    once: dict[str, str] = {}
    number = discontinuities = 0
    header, hint, ended = "", "", False
    segments: list[ListedSegment] = []
    growing: ListedSegment | None = None

    def current() -> ListedSegment:
        nonlocal growing
        growing = growing or ListedSegment(number, discontinuities, header)
        return growing

    for line in lines[1:]:
        tag, _, value = line.partition(":")
        if tag in ("#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-SERVER-CONTROL", "#EXT-X-PART-INF"):
            once[tag] = value
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            number = int(value)
        elif tag == "#EXT-X-DISCONTINUITY-SEQUENCE":
            discontinuities = int(value)
        elif tag == "#EXT-X-DISCONTINUITY":
            discontinuities += 1
        elif tag == "#EXT-X-MAP":
            header = attributes(value)["URI"]
        elif tag == "#EXT-X-PROGRAM-DATE-TIME":
            current().time_s = datetime.fromisoformat(value).timestamp()
        elif tag == "#EXT-X-PART":
            found = attributes(value)
            current().parts.append(
                ListedPart(found["URI"], float(found["DURATION"]), found.get("INDEPENDENT") == "YES")
            )
        elif tag == "#EXTINF":
            current().seconds = float(value.rstrip(","))
        elif tag == "#EXT-X-PRELOAD-HINT":
            hint = attributes(value)["URI"]
        elif tag == "#EXT-X-ENDLIST":
            ended = True
        elif not line.startswith("#"):
            current().uri = line
            segments.append(current())
            growing, number = None, number + 1
        elif tag != "#EXT-X-INDEPENDENT-SEGMENTS":
            raise ValueError(line)
    if growing is not None:
        segments.append(growing)
    control = attributes(once["#EXT-X-SERVER-CONTROL"])
    return Listed(
        segments=segments,
        target_seconds=int(once["#EXT-X-TARGETDURATION"]),
        part_target_seconds=float(attributes(once["#EXT-X-PART-INF"])["PART-TARGET"]),
        part_hold_back_seconds=float(control["PART-HOLD-BACK"]),
        hold_back_seconds=float(control["HOLD-BACK"]),
        blocks=control["CAN-BLOCK-RELOAD"] == "YES",
        hint=hint,
        ended=ended,
    )


def broken_rules(listed: Listed) -> list[str]:
    """What a strict player would complain of; empty when all is well."""
    found = []
    for segment in listed.whole:
        if math.floor(segment.seconds + 0.5) > listed.target_seconds:
            found.append(f"{segment.uri} is longer than the target")
        if segment.parts and abs(sum(part.seconds for part in segment.parts) - segment.seconds) > 0.001:
            found.append(f"the parts of {segment.uri} do not add up to it")
        if segment.parts and not segment.parts[0].independent:
            found.append(f"{segment.uri} does not begin with an independent part")
    for segment in listed.segments:
        for index, part in enumerate(segment.parts):
            if part.seconds > listed.part_target_seconds:
                found.append(f"{part.uri} is longer than the part target")
            last = index == len(segment.parts) - 1
            if part.seconds < 0.85 * listed.part_target_seconds and not (last and segment.uri):
                found.append(f"{part.uri} is too short")
    for before, after in itertools.pairwise(listed.segments):
        if before.discontinuity_number == after.discontinuity_number:
            apart_s = after.time_s - before.time_s
            if abs(apart_s - before.seconds) > 0.1:
                found.append(f"{after.uri or 'the last'} is {apart_s:.3f} s after one of {before.seconds:.3f} s")
    if listed.part_hold_back_seconds < 3 * listed.part_target_seconds - 1e-9:
        found.append("PART-HOLD-BACK is less than three parts")
    if listed.hold_back_seconds < 3 * listed.target_seconds:
        found.append("HOLD-BACK is less than three segments")
    if not listed.blocks:
        found.append("no blocking reload")
    if not (listed.hint or listed.ended):
        found.append("no preload hint")
    return found
