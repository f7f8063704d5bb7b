"""Frame headers of AV1 that are broken, or that say more than is read."""

import random

import pytest

from services.frame_extractor.engine.av1_frames import Av1Frames

# 5.5.1 with no timing, one operating point, 64x64, order hints of 7 bits; the tools of screens are said by each frame.
_SEQUENCE_BITS = "000 0 0 0 0 00000 000000000000 00000 0101 0101 111111 111111 0 000 0000 1 11 1 1 110"
# 5.9.2: an inter frame that is shown; no tools, order hint 5, no size of its own, its probabilities those of frame 0.
_FRAME_BITS = "0 01 1 0 0 0 0 0000101 000"


def obu(kind: int, bits: str) -> bytes:
    digits = bits.replace(" ", "")
    payload = int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")
    return bytes([kind << 3 | 2, len(payload)]) + payload


SEQUENCE = obu(1, _SEQUENCE_BITS)


def test_what_is_kept_for_others_is_told_by_its_flags() -> None:
    for flags in ("00000000", "00000001", "10000000"):
        assert Av1Frames(SEQUENCE).disposable(obu(6, f"{_FRAME_BITS}{flags}")) == (flags == "00000000")
    kept_nowhere = obu(6, f"{_FRAME_BITS}00000000")
    assert Av1Frames(b"").disposable(SEQUENCE + kept_nowhere)
    assert not Av1Frames(b"").disposable(kept_nowhere)
    assert not Av1Frames(SEQUENCE).disposable(kept_nowhere + kept_nowhere)
    hidden = obu(6, f"{_FRAME_BITS.replace('0 01 1', '0 01 0 1')}00000000")
    assert not Av1Frames(SEQUENCE).disposable(hidden)
    key = obu(6, f"{_FRAME_BITS.replace('0 01 1', '0 00 1')}00000000")
    assert not Av1Frames(SEQUENCE).disposable(key)
    again = obu(3, "1 000")
    assert not Av1Frames(SEQUENCE).disposable(again)


def test_more_than_is_read_is_never_disposable() -> None:
    frame = obu(6, f"{_FRAME_BITS}00000000")
    two_layers = _SEQUENCE_BITS.replace("0 0 0 0 00000 ", "0 0 0 0 00001 ", 1)
    still = _SEQUENCE_BITS.replace("000 0 0", "000 1 1", 1)
    for bits in (two_layers, still):
        assert not Av1Frames(obu(1, bits)).disposable(frame)


def test_broken_units_are_never_disposable() -> None:
    whole = SEQUENCE + obu(6, f"{_FRAME_BITS}00000000")
    assert Av1Frames(b"").disposable(whole)
    for length in range(len(whole)):
        assert not Av1Frames(b"").disposable(whole[:length])
    noise = random.Random(1)
    for _ in range(2000):
        Av1Frames(SEQUENCE).disposable(noise.randbytes(noise.randrange(40)))


@pytest.mark.timeout(5)
def test_a_sequence_header_without_an_end_costs_no_time() -> None:
    # Up to the number of ticks of a picture, which is as long as there are zeros.
    begin = int(f"{'0' * 5}1{'0' * 64}1".ljust(72, "0"), 2).to_bytes(9, "big")
    header = begin + bytes((1 << 21) - 1 - len(begin))
    assert not Av1Frames(b"").disposable(b"\x0a\xff\xff\x7f" + header)
