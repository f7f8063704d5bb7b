"""The answer to a WHEP offer: what the viewer will get (RFC 8829)."""

import secrets
from collections.abc import Sequence

from aiortc.sdp import MediaDescription

from services.webrtc_gateway.codecs.video import VIEWER_CODECS, parameters
from services.webrtc_gateway.datachannels.section import write_section
from services.webrtc_gateway.signalling.offer import (
    CAPTURE_TIME,
    MID,
    PLAYOUT_DELAY,
    TRANSPORT_NUMBER,
    Media,
    Offer,
)
from shared.rtp.clock import VIDEO_CLOCK_HZ
from shared.rtp.opus import OPUS_CLOCK_HZ

_ECHOED = (MID, PLAYOUT_DELAY, CAPTURE_TIME)
_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir")
_ESTIMATE, _ARRIVALS = "goog-remb", "transport-cc"  # what the other end tells of the line: one or the other


def write_answer(
    offer: Offer, *, ufrag: str, password: str, fingerprint: str, candidates: Sequence[str], cname: str
) -> str:
    """The answer: ICE-lite, DTLS server, everything bundled, we only send."""

    def lines_of(media: Media) -> list[str]:
        if not media.accepted:
            return []
        return write_section(media.mid) if media.data else _accepted(media, cname)

    sections = [(media.description, lines_of(media)) for media in offer.media]
    return write_session(sections, ufrag=ufrag, password=password, fingerprint=fingerprint, candidates=candidates)


def write_session(
    sections: Sequence[tuple[MediaDescription, list[str]]],
    *,
    ufrag: str,
    password: str,
    fingerprint: str,
    candidates: Sequence[str],
) -> str:
    """An answer of an ICE-lite side that is the DTLS server, everything bundled.

    `sections`: each m-line of the offer with the lines that answer it, none where it is rejected.
    """
    bundled = " ".join(description.rtp.muxId for description, accepted in sections if accepted)
    lines = [
        "v=0",
        f"o=- {secrets.randbits(62)} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {bundled}",
        "a=ice-lite",
        "a=msid-semantic: WMS *",
        "a=extmap-allow-mixed",
    ]
    first = True
    for description, accepted in sections:
        if not accepted:
            lines += _rejected(description)
            continue
        lines += accepted
        lines += [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}"]
        lines += [f"a=fingerprint:sha-256 {fingerprint}", "a=setup:passive"]
        if first:  # the others are bundled with it
            lines += [f"a=candidate:{candidate}" for candidate in candidates]
            lines.append("a=end-of-candidates")
            first = False
    return "\r\n".join(lines) + "\r\n"


def _rejected(section: MediaDescription) -> list[str]:
    lines = [f"m={section.kind} 0 {section.profile} {' '.join(map(str, section.fmt))}", "c=IN IP4 0.0.0.0"]
    if section.rtp.muxId:
        lines.append(f"a=mid:{section.rtp.muxId}")
    return [*lines, "a=inactive"]


def _accepted(media: Media, cname: str) -> list[str]:
    section, codec = media.description, media.codec
    if codec is None:
        raise ValueError("a rejected m-line has no codec")
    payload_type, track = codec.payloadType, media.track
    numbered = track is not None and track.extensions.number_id is not None
    repair_type = track.repair_type if track else None
    types = f"{payload_type} {repair_type}" if repair_type else payload_type
    lines = [
        f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {types}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{media.mid}",
        "a=sendonly" if media.track else "a=inactive",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    echoed = (*_ECHOED, TRANSPORT_NUMBER) if numbered else _ECHOED
    lines += [f"a=extmap:{ext.id} {ext.uri}" for ext in section.rtp.headerExtensions if ext.uri in echoed]
    if media.video_codec is not None:
        told = VIEWER_CODECS[media.video_codec]
        lines.append(f"a=rtpmap:{payload_type} {told.encoding}/{VIDEO_CLOCK_HZ}")
        lines += [
            f"a=rtcp-fb:{payload_type} {feedback}"
            for feedback in (*_VIDEO_FEEDBACK, _ARRIVALS if numbered else _ESTIMATE)
        ]
        if fmtp := told.fmtp(parameters(codec)):
            lines.append(f"a=fmtp:{payload_type} {fmtp}")
        if repair_type:
            lines.append(f"a=rtpmap:{repair_type} rtx/{VIDEO_CLOCK_HZ}")
            lines.append(f"a=fmtp:{repair_type} apt={payload_type}")
    else:
        lines.append(f"a=rtpmap:{payload_type} opus/{OPUS_CLOCK_HZ}/2")
        lines.append(f"a=fmtp:{payload_type} minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1")
        if numbered:
            lines.append(f"a=rtcp-fb:{payload_type} {_ARRIVALS}")
    if track:
        lines.append(f"a=msid:{cname} {section.kind}")
        ssrcs = [track.ssrc, track.repair_ssrc] if repair_type else [track.ssrc]
        if repair_type:
            lines.append(f"a=ssrc-group:FID {track.ssrc} {track.repair_ssrc}")
        for ssrc in ssrcs:
            lines.append(f"a=ssrc:{ssrc} cname:{cname}")
            lines.append(f"a=ssrc:{ssrc} msid:{cname} {section.kind}")
    return lines
