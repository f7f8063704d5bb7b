"""The codec configuration that an access unit has in band, as packets carry it beside the picture."""

from schemas.packets import VideoCodec
from shared.media.av1 import sequence_header
from shared.media.bitstream import parameter_sets


def configuration(access_unit: bytes, codec: VideoCodec) -> bytes:
    """Annex B parameter sets, an AV1 sequence header, or nothing for codecs whose pictures stand alone.

    Raises:
        BadRequest: the access unit is broken.
    """
    if codec == "h264" or codec == "hevc":
        return parameter_sets(access_unit, codec)
    return sequence_header(access_unit) if codec == "av1" else b""
