"""The m-line of data channels in an offer and in the answer (RFC 8841)."""

from dataclasses import dataclass

from aiortc.sdp import MediaDescription

from services.webrtc_gateway.datachannels.association import SCTP_PORT
from services.webrtc_gateway.datachannels.limits import MAX_MESSAGE_BYTES

# Browsers have said so since 2018; `DTLS/SCTP` with `a=sctpmap` is the form of before.
_PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
_FORMAT = "webrtc-datachannel"
_UNSAID_MAX_MESSAGE_BYTES = 65_536  # RFC 8841 section 6.1: the value where the peer does not say
_PORTS = range(1, 65_536)


@dataclass(frozen=True, slots=True)
class DataSection:
    """What a peer says of its side."""

    mid: str
    port: int = SCTP_PORT
    """SCTP port, which has nothing to do with UDP's."""
    max_message_bytes: int = _UNSAID_MAX_MESSAGE_BYTES
    """0: of any size."""


def read_section(media: MediaDescription) -> DataSection | None:
    """The data channels of an m-line; None when it offers none that we speak."""
    if media.kind != "application" or media.port == 0 or media.profile not in _PROTOCOLS:
        return None
    if [str(name) for name in media.fmt] != [_FORMAT] or media.sctp_port not in _PORTS or not media.rtp.muxId:
        return None
    said = media.sctpCapabilities
    most = _UNSAID_MAX_MESSAGE_BYTES if said is None else max(0, said.maxMessageSize)
    return DataSection(media.rtp.muxId, media.sctp_port or SCTP_PORT, most)


def write_section(mid: str) -> list[str]:
    """The lines of an accepted m-line, and of one that we offer, but for ICE and DTLS."""
    return [
        f"m=application 9 UDP/DTLS/SCTP {_FORMAT}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a=sctp-port:{SCTP_PORT}",
        f"a=max-message-size:{MAX_MESSAGE_BYTES}",
    ]
