"""What DESCRIBE answers: a rendition's tracks in SDP (RFC 4566, RFC 2326 appendix C)."""

from collections.abc import Iterable

from services.publisher.rtsp.units import TRACK_NUMBERS, FeedTrack

CONTROL = "trackID="


def describe(name: str, session: int, tracks: Iterable[FeedTrack]) -> str:
    """The SDP of a live presentation. `session`: the same for as long as it describes the same."""
    lines = [
        "v=0",
        f"o=- {session} {session} IN IP4 0.0.0.0",
        f"s={name}",
        "c=IN IP4 0.0.0.0",  # where to is SETUP's to say
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
    ]
    for track in tracks:
        lines += _media(track)
    return "\r\n".join(lines) + "\r\n"


def _media(track: FeedTrack) -> list[str]:
    header, kind = track.header, track.payload_type
    media = "video" if track.track == "video" else "audio"
    # RFC 7587 section 7: opus is told of as stereo at 48 kHz, whatever it is.
    channels = {"aac": f"/{header.channels}", "opus": "/2"}.get(track.track, "")
    lines = [f"m={media} 0 RTP/AVP {kind}", f"a=rtpmap:{kind} {track.format.encoding}/{track.clock_hz}{channels}"]
    parameters = track.format.parameters(header.extradata)
    if track.track == "opus" and header.channels == 2:
        parameters = "sprop-stereo=1"
    if parameters:
        lines.append(f"a=fmtp:{kind} {parameters}")
    if media == "video" and header.width and header.height:
        lines.append(f"a=framesize:{kind} {header.width}-{header.height}")
    lines.append(f"a=control:{CONTROL}{TRACK_NUMBERS[track.track]}")
    return lines
