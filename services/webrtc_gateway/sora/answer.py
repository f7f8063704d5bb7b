"""A client's answer, taken apart: each stream of the connection is matched with its own m-lines alone."""

import copy
from collections.abc import Collection

from aiortc.rtcdtlstransport import RTCDtlsFingerprint
from aiortc.sdp import MediaDescription, SessionDescription

from schemas.errors import BadRequest
from services.webrtc_gateway.codecs.video import parameters
from services.webrtc_gateway.datachannels.section import DataSection, read_section

_RETRANSMISSION = "video/rtx"


def fingerprints_of(description: SessionDescription) -> list[RTCDtlsFingerprint]:
    """Raises:
    BadRequest: the answer accepts nothing, or wants to be DTLS' server.
    """
    for section in description.media:
        if section.port and section.dtls is not None and section.dtls.fingerprints:
            if section.dtls.role != "client":
                raise BadRequest("the answer does not say a=setup:active; the client begins the handshake here")
            return list(section.dtls.fingerprints)
    raise BadRequest("the answer takes no m-line; it needs VP8, VP9, AV1, H.264 or H.265, or Opus")


def side_of(description: SessionDescription, mids: Collection[str]) -> SessionDescription | None:
    """The client's side of some m-lines; None: it takes none of them."""
    found = [section for section in description.media if section.port and section.rtp.muxId in mids]
    if not found:
        return None
    side = copy.copy(description)
    side.media = found
    return side


def data_section_of(description: SessionDescription) -> DataSection | None:
    """The client's side of data channels; None: it takes none."""
    return next((found for section in description.media if (found := read_section(section)) is not None), None)


def keep_what_is_sent(side: SessionDescription) -> None:
    """Leave each m-line one codec, the first: that is what the client sends, whatever else it could."""
    for section in side.media:
        _keep_first(section)


def _keep_first(section: MediaDescription) -> None:
    first = next((codec for codec in section.rtp.codecs if codec.mimeType.lower() != _RETRANSMISSION), None)
    if first is not None:
        section.rtp.codecs = [
            codec
            for codec in section.rtp.codecs
            if codec is first
            or (codec.mimeType.lower() == _RETRANSMISSION and parameters(codec).get("apt") == str(first.payloadType))
        ]
