"""What a sequence parameter set says of the video: its size, and whether pictures have fields.

Sources: ITU-T H.264 7.3.2.1.1, ITU-T H.265 7.3.2.2 and 7.3.3.
"""

from typing import NamedTuple

from schemas.errors import BadRequest
from schemas.packets import NalCodec
from shared.media import bitstream
from shared.media.bits import Bits

# Profiles whose SPS has the chroma and scaling fields (7.3.2.1.1).
_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))
_MACROBLOCK_PIXELS = 16
_PROFILE_BITS, _LEVEL_BITS = 88, 8  # of profile_tier_level in H.265
_MAX_EDGE_PIXELS = 16_888  # of the highest level of either codec


class SequenceInfo(NamedTuple):
    """Size in pixels after cropping, and the kind of pictures."""

    width: int
    height: int
    frames_only: bool = True
    """H.264: no picture is coded as two fields, and none as frames with fields in them."""


def sequence_info(data: bytes, codec: NalCodec) -> SequenceInfo | None:
    """What the first SPS in Annex B `data` (extradata or a key access unit) says; None when there is none.

    Raises:
        BadRequest: the SPS is broken.
    """
    wanted = bitstream.HEVC_SPS if codec == "hevc" else bitstream.H264_SPS
    for nal in bitstream.nal_units(data, codec):
        if nal.type == wanted:
            return parse_sps(data[nal.start : nal.end], codec)
    return None


def parse_sps(sps: bytes, codec: NalCodec) -> SequenceInfo:
    """One SPS NAL unit, with its NAL header and without start code.

    Raises:
        BadRequest: it is cut short or has impossible values.
    """
    bits = Bits(sps.replace(b"\x00\x00\x03", b"\x00\x00"), "SPS")  # emulation prevention (7.3.1)
    info = _parse_hevc(bits) if codec == "hevc" else _parse_h264(bits)
    if not (0 < info.width <= _MAX_EDGE_PIXELS and 0 < info.height <= _MAX_EDGE_PIXELS):
        raise BadRequest(f"SPS with an impossible size of {info.width}x{info.height}")
    return info


def _parse_h264(bits: Bits) -> SequenceInfo:
    bits.u(8)  # NAL header
    profile = bits.u(8)
    bits.u(8 + 8)  # constraint flags, level_idc
    bits.ue()  # seq_parameter_set_id
    chroma_format = 1
    if profile in _HIGH_PROFILES:
        chroma_format = bits.ue()
        if chroma_format == 3 and bits.u(1):  # separate_colour_plane_flag
            chroma_format = 0
        bits.ue()  # bit_depth_luma_minus8
        bits.ue()  # bit_depth_chroma_minus8
        bits.u(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.u(1):  # seq_scaling_matrix_present_flag
            for index in range(8 if chroma_format != 3 else 12):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.ue()  # log2_max_frame_num_minus4
    order = bits.ue()  # pic_order_cnt_type
    if order == 0:
        bits.ue()  # log2_max_pic_order_cnt_lsb_minus4
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(_at_most(bits.ue(), 255)):
            bits.se()
    bits.ue()  # max_num_ref_frames
    bits.u(1)  # gaps_in_frame_num_value_allowed_flag
    width = (bits.ue() + 1) * _MACROBLOCK_PIXELS
    map_units = bits.ue() + 1
    frames_only = bits.u(1)
    height = (2 - frames_only) * map_units * _MACROBLOCK_PIXELS
    if not frames_only:
        bits.u(1)  # mb_adaptive_frame_field_flag
    bits.u(1)  # direct_8x8_inference_flag
    if bits.u(1):  # frame_cropping_flag
        unit_x, unit_y = _crop_units(chroma_format)
        unit_y *= 2 - frames_only
        width -= (bits.ue() + bits.ue()) * unit_x
        height -= (bits.ue() + bits.ue()) * unit_y
    return SequenceInfo(width, height, bool(frames_only))


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _parse_hevc(bits: Bits) -> SequenceInfo:
    bits.u(16 + 4)  # NAL header, sps_video_parameter_set_id
    sub_layers = bits.u(3)
    bits.u(1)  # sps_temporal_id_nesting_flag
    bits.u(_PROFILE_BITS + _LEVEL_BITS)
    present = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.u(_PROFILE_BITS * has_profile + _LEVEL_BITS * has_level)
    bits.ue()  # sps_seq_parameter_set_id
    chroma_format = bits.ue()
    if chroma_format == 3 and bits.u(1):
        chroma_format = 0
    width, height = bits.ue(), bits.ue()
    if bits.u(1):  # conformance_window_flag
        unit_x, unit_y = _crop_units(chroma_format)
        width -= (bits.ue() + bits.ue()) * unit_x
        height -= (bits.ue() + bits.ue()) * unit_y
    return SequenceInfo(width, height)


def _crop_units(chroma_format: int) -> tuple[int, int]:
    """Luma pixels of one cropping unit for 4:0:0, 4:2:0, 4:2:2 and 4:4:4."""
    return (2 if chroma_format in (1, 2) else 1), (2 if chroma_format == 1 else 1)


def _at_most(value: int, limit: int) -> int:
    if value > limit:
        raise BadRequest(f"SPS with a count of {value}, at most {limit} is allowed")
    return value
