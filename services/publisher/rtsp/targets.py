"""What a request's URI names: a rendition of a stream, or one track of it."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.ids import check_id
from schemas.packets import Track
from schemas.subjects import DEFAULT_RENDITION
from services.publisher.rtsp.messages import RtspError
from services.publisher.rtsp.sdp import CONTROL
from services.publisher.rtsp.units import TRACK_NUMBERS

_TRACKS: dict[str, Track] = {str(number): track for track, number in TRACK_NUMBERS.items()}
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")
_MAX_QUERY_FIELDS = 8


@dataclass(frozen=True)
class Target:
    """`rtsp://host:port/<stream>[/<rendition>][/trackID=N][?audio=aac|opus|none]`."""

    base: str
    """The URI of the rendition, without userinfo, track and query."""
    stream: str
    rendition: str
    track: Track | None = None
    sound: str = ""


def parse_target(uri: str) -> Target:
    """Raises:
    RtspError: the URI names no stream; says what one looks like.
    InvalidValue: a name in it can be no stream's.
    """
    try:
        parts = urlsplit(uri)
        names = [unquote(name) for name in parts.path.split("/") if name]
        sound = parse_qs(parts.query, max_num_fields=_MAX_QUERY_FIELDS).get("audio", [""])[0]
    except ValueError:
        raise RtspError(400, "the URI cannot be read") from None
    track: Track | None = None
    if names and names[-1].startswith(CONTROL):
        track = _TRACKS.get(names.pop().removeprefix(CONTROL))
        if track is None:
            raise RtspError(404, "no such track")
    if parts.scheme.lower() != "rtsp" or not 1 <= len(names) <= 2:
        raise RtspError(404, "name a stream: rtsp://host:port/<stream>[/<rendition>]")
    for name in names:
        check_id(name, "the URI")
    # Without the userinfo, and nothing that could be taken for another header.
    host = parts.netloc.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        raise RtspError(400, "the URI has no host")
    rendition = names[1] if len(names) > 1 else DEFAULT_RENDITION
    return Target(f"rtsp://{host}/{'/'.join(names)}", names[0], rendition, track, sound)
