"""Which temporal units of AV1 show a picture that no other is made from.

Source: AV1 Bitstream & Decoding Process Specification, 5.5.1 (sequence header), 5.9.2 (frame header), 7.20.
"""

from typing import Final, NamedTuple

from schemas.errors import BadRequest
from shared.media.av1 import obus
from shared.media.bits import Bits

_SEQUENCE_HEADER: Final = 1
_FRAME_HEADERS: Final = (3, 6)  # OBU_FRAME_HEADER and OBU_FRAME, which begins with one
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3  # frame_type
_SELECT: Final = 2  # of screen content tools: every frame says
_HEAD_BYTES: Final = 64  # of a header, more than what is read of it: of a long one that is made up each bit costs


class _Sequence(NamedTuple):
    """What the header of a frame is read by."""

    frame_id_bits: int
    screen_content_tools: int
    integer_mv: int
    order_hint_bits: int


class Av1Frames:
    """Remembers the sequence header, which comes before the frames that need it."""

    def __init__(self, configuration: bytes) -> None:
        """
        Args:
            configuration: OBUs that the container has; may be empty.
        """
        self._sequence: _Sequence | None = None
        self.disposable(configuration)

    def disposable(self, temporal_unit: bytes) -> bool:
        """Whether nothing of it is kept for other pictures; False where that cannot be told."""
        frames = 0
        try:
            for obu in obus(temporal_unit):
                head = temporal_unit[obu.payload : min(obu.end, obu.payload + _HEAD_BYTES)]
                if obu.type == _SEQUENCE_HEADER:
                    self._sequence = _sequence(Bits(head, "AV1 header"))
                elif obu.type in _FRAME_HEADERS:
                    if self._sequence is None:
                        return False
                    if _refreshes(Bits(head, "AV1 header"), self._sequence):
                        return False
                    frames += 1
        except BadRequest:  # the decoder shall say what is wrong with it
            return False
        return frames == 1  # several are layers, or headers said again


def _sequence(bits: Bits) -> _Sequence | None:
    """None where frames have more in their headers than is read here: still pictures, layers, models of decoders."""
    bits.u(4)  # seq_profile, still_picture
    if bits.u(1):  # reduced_still_picture_header
        return None
    if bits.u(1):  # timing_info_present_flag
        bits.u(64)  # num_units_in_display_tick, time_scale
        if bits.u(1):  # equal_picture_interval
            zeros = 0
            while not bits.u(1):  # num_ticks_per_picture_minus_1, as uvlc
                zeros += 1
            bits.u(zeros if zeros < 32 else 0)
        if bits.u(1):  # decoder_model_info_present_flag
            return None
    display_delay = bits.u(1)
    if bits.u(5):  # operating_points_cnt_minus_1
        return None
    bits.u(12)  # operating_point_idc
    if bits.u(5) > 7:  # seq_level_idx
        bits.u(1)  # seq_tier
    if display_delay and bits.u(1):
        bits.u(4)  # initial_display_delay_minus_1
    width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
    bits.u(width_bits + height_bits)
    frame_id_bits = bits.u(4) + bits.u(3) + 3 if bits.u(1) else 0
    bits.u(3)  # superblocks, filter_intra, intra_edge_filter
    bits.u(4)  # interintra_compound, masked_compound, warped_motion, dual_filter
    order_hint = bits.u(1)
    if order_hint:
        bits.u(2)  # jnt_comp, ref_frame_mvs
    screen_content_tools = _SELECT if bits.u(1) else bits.u(1)
    integer_mv = _SELECT
    if screen_content_tools and not bits.u(1):
        integer_mv = bits.u(1)
    return _Sequence(frame_id_bits, screen_content_tools, integer_mv, bits.u(3) + 1 if order_hint else 0)


def _refreshes(bits: Bits, sequence: _Sequence) -> bool:
    """Whether other pictures may be made from this one, or it is not shown by itself."""
    if bits.u(1):  # show_existing_frame: of a key picture it puts all references back
        return True
    kind, shown = bits.u(2), bits.u(1)
    if not shown or kind in (_KEY, _SWITCH):
        return True
    resilient = bits.u(1)
    bits.u(1)  # disable_cdf_update
    tools = bits.u(1) if sequence.screen_content_tools == _SELECT else sequence.screen_content_tools
    if tools and sequence.integer_mv == _SELECT:
        bits.u(1)  # force_integer_mv
    bits.u(sequence.frame_id_bits + 1 + sequence.order_hint_bits)  # with frame_size_override_flag
    if kind != _INTRA_ONLY and not resilient:
        bits.u(3)  # primary_ref_frame
    return bits.u(8) != 0  # refresh_frame_flags
