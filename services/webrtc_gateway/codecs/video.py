"""The video codecs of WebRTC: which payload type of an offer takes a rendition, and what the answer says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription

from schemas.packets import VideoCodec
from shared.rtp.av1 import packetize_av1
from shared.rtp.h264 import packetize_h264
from shared.rtp.hevc import packetize_hevc
from shared.rtp.vpx import packetize_vp8, packetize_vp9

Parameters = Mapping[str, str]
"""Of one `a=fmtp` line."""
Packetize = Callable[[bytes | memoryview, int, int], tuple[bytes, ...]]
"""(access unit, largest payload in bytes, so much shorter the first) to payloads, as `shared.rtp.formats` has them."""

# Constrained baseline first: what live encoders make. Decoders take more than the profile they name.
_H264_PROFILES = ("42e0", "4200", "4d00", "640c", "6400", "f400")
_H264_PROFILE = "42001f"  # RFC 6184 section 8.1: what an offer without profile-level-id means, as browsers write it
_HEVC_MAIN, _HEVC_MAIN_10 = "1", "2"  # profile-id of RFC 7798 section 7.1; decoders of Main 10 take Main
_HEVC_PROFILES = (_HEVC_MAIN, _HEVC_MAIN_10)


@dataclass(frozen=True)
class ViewerCodec:
    """How one codec is matched with an offer and told of in the answer."""

    encoding: str
    """Its name in `a=rtpmap`."""
    packetize: Packetize
    wanted: str
    """What an offer must have, for people."""
    rank: Callable[[Parameters], int | None]
    """How well a payload type with these parameters suits, 0 the best; None: not at all."""
    echoed: tuple[str, ...] = ()
    """Parameters that the answer repeats, as far as the offer has them."""
    constant: str = ""
    """Parameters that the answer always has."""

    def fmtp(self, offered: Parameters) -> str:
        """The parameters of the answer; empty: no `a=fmtp` line."""
        # Only plain words: the offer is a stranger's.
        repeated = [f"{name}={offered[name]}" for name in self.echoed if offered.get(name, "").isalnum()]
        return ";".join([*filter(None, (self.constant,)), *repeated])


def _h264(offered: Parameters) -> int | None:
    if offered.get("packetization-mode") != "1":
        return None
    profile = offered.get("profile-level-id", _H264_PROFILE).lower()[:4]
    return _H264_PROFILES.index(profile) if profile in _H264_PROFILES else len(_H264_PROFILES)


def _hevc(offered: Parameters) -> int | None:
    profile = offered.get("profile-id", _HEVC_MAIN)
    if profile not in _HEVC_PROFILES or offered.get("tx-mode", "SRST") != "SRST":
        return None
    return _HEVC_PROFILES.index(profile)


def _vp8(_offered: Parameters) -> int | None:
    return 0


def _vp9(offered: Parameters) -> int | None:
    return 0 if offered.get("profile-id", "0") == "0" else None


def _av1(offered: Parameters) -> int | None:
    return 0 if offered.get("profile", "0") == "0" else None


VIEWER_CODECS: dict[VideoCodec, ViewerCodec] = {
    "h264": ViewerCodec(
        "H264",
        packetize_h264,
        "H.264 (packetization-mode=1)",
        _h264,
        constant="level-asymmetry-allowed=1;packetization-mode=1",
        echoed=("profile-level-id",),
    ),
    "hevc": ViewerCodec(
        "H265",
        packetize_hevc,
        "H.265 (profile-id=1)",
        _hevc,
        echoed=("level-id", "profile-id", "tier-flag", "tx-mode"),
    ),
    "vp8": ViewerCodec("VP8", packetize_vp8, "VP8", _vp8),
    "vp9": ViewerCodec("VP9", packetize_vp9, "VP9 (profile-id=0)", _vp9, echoed=("profile-id",)),
    "av1": ViewerCodec("AV1", packetize_av1, "AV1 (profile=0)", _av1, echoed=("level-idx", "profile", "tier")),
}
"""By the mesh's name of each codec that viewers may take."""


def parameters(codec: RTCRtpCodecParameters) -> Parameters:
    """The parameters of a payload type, as text."""
    return {name.strip(): str(value).strip() for name, value in codec.parameters.items()}


def best_payload(section: MediaDescription, codec: VideoCodec) -> RTCRtpCodecParameters | None:
    """The payload type of an m-line that suits `codec` best; None: it has none that does."""
    wanted = VIEWER_CODECS[codec]
    found: tuple[int, RTCRtpCodecParameters] | None = None
    for offered in section.rtp.codecs:
        if offered.mimeType.lower() == f"video/{wanted.encoding.lower()}":
            rank = wanted.rank(parameters(offered))
            if rank is not None and (found is None or rank < found[0]):
                found = rank, offered
    return found[1] if found else None


def taken_codecs(section: MediaDescription) -> tuple[VideoCodec, ...]:
    """What the m-line's side can decode of what we carry."""
    return tuple(codec for codec in VIEWER_CODECS if best_payload(section, codec) is not None)
