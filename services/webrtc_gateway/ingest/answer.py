"""The answer to a WHIP offer: what the gateway takes (RFC 8829)."""

from collections.abc import Sequence

from services.webrtc_gateway.codecs.video import VIEWER_CODECS, parameters
from services.webrtc_gateway.datachannels.section import write_section
from services.webrtc_gateway.ingest.offer import FEEDBACK, IngestMedia, IngestOffer
from services.webrtc_gateway.ingest.simulcast import REPAIRED_RID, RID
from services.webrtc_gateway.signalling.answer import write_session
from services.webrtc_gateway.signalling.offer import AUDIO_LEVEL, CAPTURE_TIME, MID
from shared.rtp.clock import VIDEO_CLOCK_HZ
from shared.rtp.opus import OPUS_CLOCK_HZ

_ECHOED = (MID, CAPTURE_TIME, AUDIO_LEVEL)


def write_ingest_answer(
    offer: IngestOffer, *, ufrag: str, password: str, fingerprint: str, candidates: Sequence[str], max_bps: int
) -> str:
    """The answer: ICE-lite, DTLS server, everything bundled, we only receive, at most `max_bps` of pictures."""

    def lines_of(media: IngestMedia) -> list[str]:
        if not media.accepted:
            return []
        return write_section(media.data.mid) if media.data else _accepted(media, max_bps)

    sections = [(media.description, lines_of(media)) for media in offer.media]
    return write_session(sections, ufrag=ufrag, password=password, fingerprint=fingerprint, candidates=candidates)


def _accepted(media: IngestMedia, max_bps: int) -> list[str]:
    section, codec, terms = media.description, media.codec, media.terms
    if codec is None:
        raise ValueError("a rejected m-line has no codec")
    payload_type = codec.payloadType
    retransmission = terms.repair_type if terms else None
    types = [payload_type] if retransmission is None else [payload_type, retransmission]
    lines = [f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}", "c=IN IP4 0.0.0.0"]
    if section.kind == "video":
        lines.append(f"b=AS:{max_bps // 1000}")
    lines += [
        f"a=mid:{section.rtp.muxId}",
        "a=recvonly" if terms else "a=inactive",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    layers = terms.layers if terms else None
    echoed = (*_ECHOED, RID, REPAIRED_RID) if layers else _ECHOED
    lines += [f"a=extmap:{ext.id} {ext.uri}" for ext in section.rtp.headerExtensions if ext.uri in echoed]
    if terms is not None and terms.codec is not None:
        known = VIEWER_CODECS[terms.codec]
        lines.append(f"a=rtpmap:{payload_type} {known.encoding}/{VIDEO_CLOCK_HZ}")
        if fmtp := known.fmtp(parameters(codec)):
            lines.append(f"a=fmtp:{payload_type} {fmtp}")
    elif section.kind == "audio":
        lines.append(f"a=rtpmap:{payload_type} opus/{OPUS_CLOCK_HZ}/2")
        lines.append(f"a=fmtp:{payload_type} minptime=10;useinbandfec=1;stereo=1")
    else:  # inactive, and so without a word about what is understood
        lines.append(f"a=rtpmap:{payload_type} {codec.mimeType.partition('/')[2]}/{VIDEO_CLOCK_HZ}")
    if terms is not None:
        lines += [f"a=rtcp-fb:{payload_type} {feedback}" for feedback in FEEDBACK if feedback in terms.feedback]
    if retransmission is not None:
        lines.append(f"a=rtpmap:{retransmission} rtx/{VIDEO_CLOCK_HZ}")
        lines.append(f"a=fmtp:{retransmission} apt={payload_type}")
    if layers is not None:
        lines += [f"a=rid:{rid} recv" for rid in layers.renditions]
        lines.append(f"a=simulcast:recv {';'.join(layers.renditions)}")
    return lines
