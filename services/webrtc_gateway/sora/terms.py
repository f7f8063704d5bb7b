"""What a client's wishes for sound and pictures make of our terms."""

from collections.abc import Mapping

from schemas.packets import VideoCodec
from services.webrtc_gateway.ingest.offer import PREFERENCE
from services.webrtc_gateway.sora.client_messages import AudioOptions, Connect, VideoOptions
from services.webrtc_gateway.sora.refusal import Refusal
from services.webrtc_gateway.sora.sections import CODEC_NAMES, Terms, opus_format

_MIN_OPUS_BPS, _MAX_OPUS_BPS = 6_000, 510_000  # RFC 7587 section 6.1
_H264_FORMAT = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={}"


def read_terms(connect: Connect, max_bps: int) -> Terms:
    """`max_bps` is the most that the client may send, whatever it asks for.

    Raises:
        Refusal: the codec is none.
    """
    opus = opus_format({})
    if isinstance(connect.audio, AudioOptions):
        opus = opus_format(connect.audio.opus_params)
        if connect.audio.bit_rate is not None:
            opus += f";maxaveragebitrate={min(max(connect.audio.bit_rate * 1000, _MIN_OPUS_BPS), _MAX_OPUS_BPS)}"
    if not isinstance(connect.video, VideoOptions):
        return Terms(codecs=PREFERENCE, opus=opus, max_bps=max_bps)
    wanted = connect.video
    codecs, start_bps = PREFERENCE, None
    if wanted.codec_type is not None:
        if wanted.codec_type not in CODEC_NAMES:
            raise Refusal("INVALID-VIDEO-CODEC-TYPE", f"give one of {', '.join(CODEC_NAMES)}")
        codecs = (CODEC_NAMES[wanted.codec_type],)
    if wanted.bit_rate is not None and wanted.bit_rate > 0:
        start_bps = max_bps = min(wanted.bit_rate * 1000, max_bps)
    return Terms(codecs=codecs, opus=opus, max_bps=max_bps, start_bps=start_bps, formats=_formats(wanted))


def _formats(wanted: VideoOptions) -> Mapping[VideoCodec, str]:
    """`a=fmtp` of codecs of which the client wants another profile than ours."""
    found: dict[VideoCodec, str] = {}
    if wanted.vp9_params is not None:
        found["vp9"] = f"profile-id={wanted.vp9_params.profile_id}"
    if wanted.av1_params is not None:
        found["av1"] = f"profile={wanted.av1_params.profile}"
    if wanted.h264_params is not None:
        found["h264"] = _H264_FORMAT.format(wanted.h264_params.profile_level_id.lower())
    return found
