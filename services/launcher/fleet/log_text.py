"""Lines of logs as a reply has them: so many of each instance, and no more bytes than a message takes."""

from collections.abc import Mapping, Sequence

from schemas.errors import InvalidValue
from schemas.fleet import LogLine, LogLines

_MAX_REPLY_BYTES = 512 << 10  # half of what a server takes that nobody has configured
_LINE_OVERHEAD_BYTES = 40  # of JSON around one


def bounded(service: str, lines: Sequence[LogLine], following: str) -> LogLines:
    """The newest of them that there is room for."""
    kept: list[LogLine] = []
    room_bytes = _MAX_REPLY_BYTES
    for line in reversed(lines):
        # Twice: what JSON has to escape.
        room_bytes -= 2 * len(line.text.encode(errors="replace")) + _LINE_OVERHEAD_BYTES
        if room_bytes < 0:
            break
        kept.append(line)
    return LogLines(service=service, lines=tuple(reversed(kept)), next=following, left_out=len(lines) - len(kept))


def write_cursor(places: Mapping[int, str]) -> str:
    """Where each instance's log had been read to."""
    return ";".join(f"{instance}:{place}" for instance, place in sorted(places.items()))


def read_cursor(text: str) -> dict[int, str]:
    """Raises: InvalidValue: it is not one."""
    places: dict[int, str] = {}
    for part in filter(None, text.split(";")):
        number, colon, place = part.partition(":")
        if not colon or not number.isascii() or not number.isdigit():
            raise InvalidValue("after", text, "give what an earlier reply had in `next`")
        places[int(number)] = place
    return places


def number_of(place: str) -> int:
    """A place as a number: of lines, or a time in nanoseconds. Raises: InvalidValue: it is not one."""
    if not place.isascii() or not place.isdigit():
        raise InvalidValue("after", place, "give what an earlier reply had in `next`")
    return int(place)
