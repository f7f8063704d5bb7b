"""Playlists as text (RFC 8216; parts and blocking reload: draft-ietf-hls-rfc8216bis, 4.4.3.7, 4.4.3.8, 4.4.4.9)."""

import math
from datetime import UTC, datetime
from typing import Final

from schemas.units import NS_PER_SECOND
from services.webrtc_gateway.hls.window import LiveWindow, Segment

_VERSION: Final = 9  # parts and preload hints; players that know less ignore those tags
_HELD_BACK_PARTS: Final = 3  # RFC 8216bis, 4.4.3.8: at least three
_HELD_BACK_SEGMENTS: Final = 3
_PART_TARGETS: Final = 3  # RFC 8216bis, 6.2.2: parts further from the end go
_DEFAULT_PEAK: Final = 1.25  # of the highest rate seen, for what is to come


def segment_name(number: int) -> str:
    return f"s{number}.m4s"


def part_name(number: int) -> str:
    return f"p{number}.m4s"


def header_name(number: int) -> str:
    return f"i{number}.mp4"


def media_playlist(window: LiveWindow, next_part_number: int) -> str:
    """The playlist of a window that has at least one segment with a part."""
    listed = window.listed()
    first = listed[0]
    in_parts = _told_in_parts(window, listed)
    # A picture that was shown for longer, as after a drop, makes a longer part: told for as long as it is listed, so
    # that players stay far enough behind and come back when it is over.
    longest_s = max([window.part_target_seconds, *(part.seconds for one in in_parts for part in one.parts)])
    part_target_ms = math.ceil(longest_s * 1e3)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{_VERSION}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f"#EXT-X-TARGETDURATION:{window.target_seconds}",
        f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={_HELD_BACK_PARTS * part_target_ms / 1e3:.3f},"
        f"HOLD-BACK={_HELD_BACK_SEGMENTS * window.target_seconds}",
        f"#EXT-X-PART-INF:PART-TARGET={part_target_ms / 1e3:.3f}",
        f"#EXT-X-MEDIA-SEQUENCE:{first.number}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{window.discontinuity_number(first)}",
    ]
    told_header = -1
    for segment in listed:
        if segment.discontinuity:
            lines.append("#EXT-X-DISCONTINUITY")
        if segment.header_number != told_header:
            told_header = segment.header_number
            lines.append(f'#EXT-X-MAP:URI="{header_name(told_header)}"')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_time_text(segment.captured_ns)}")
        if segment in in_parts:
            lines += _part_lines(segment)
        if segment.complete:
            lines += [f"#EXTINF:{segment.seconds:.5f},", segment_name(segment.number)]
    if window.ended:
        lines.append("#EXT-X-ENDLIST")
    else:
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{part_name(next_part_number)}"')
    return "\n".join(lines) + "\n"


def multivariant_playlist(window: LiveWindow, path: str) -> str:
    """One variant: the media playlist at `path`."""
    header = window.header
    assert header is not None
    whole = [segment for segment in window.segments if segment.complete]
    rates = [8 * segment.size / segment.seconds for segment in whole]
    average = 8 * sum(segment.size for segment in whole) / sum(segment.seconds for segment in whole)
    attributes = [
        f"BANDWIDTH={round(max(rates) * _DEFAULT_PEAK)}",
        f"AVERAGE-BANDWIDTH={round(average)}",
        f'CODECS="{header.codecs}"',
        f"RESOLUTION={header.video.width}x{header.video.height}",
    ]
    if header.video.picture_ns > 0:
        attributes.append(f"FRAME-RATE={NS_PER_SECOND / header.video.picture_ns:.3f}")
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{_VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    return "\n".join([*lines, f"#EXT-X-STREAM-INF:{','.join(attributes)}", path]) + "\n"


def _told_in_parts(window: LiveWindow, listed: list[Segment]) -> list[Segment]:
    """The last three target durations, and the one that grows."""
    found: list[Segment] = []
    seconds = 0.0
    for segment in reversed(listed):
        if segment.complete and seconds >= _PART_TARGETS * window.target_seconds:
            break
        found.append(segment)
        seconds += segment.seconds
    return found


def _part_lines(segment: Segment) -> list[str]:
    return [
        f'#EXT-X-PART:DURATION={part.seconds:.5f},URI="{part_name(part.number)}"'
        + (",INDEPENDENT=YES" if part.independent else "")
        for part in segment.parts
    ]


def _time_text(captured_ns: int) -> str:
    milliseconds = captured_ns // 1_000_000
    moment = datetime.fromtimestamp(milliseconds // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1_000:03d}Z"
