"""What no encoder can do is refused before anything is started, with the field, the value and the fix."""

from typing import Any

import msgspec
import pytest

from schemas.commands import StartRendition
from schemas.encoding import check_encoding
from schemas.errors import BadRequest, InvalidValue
from schemas.mesh_file import plan_from_mapping
from schemas.resources import RenditionSpec
from services.hw_encode.encoders import candidates
from services.hw_encode.kinds import ENCODERS
from services.hw_encode.rates import Rate

pytestmark = pytest.mark.unit

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"bitrate": "fast"}, "bitrate 'fast': write bit/s with k or M, for example 4M or 800k"),
    ({"bitrate": "15k"}, "bitrate '15k': use 16k to 400M"),
    ({"codec": "mjpeg", "preset": "fast"}, "preset 'fast': mjpeg has no presets; leave it out"),
    ({"codec": "mjpeg", "rate_control": "crf", "quality": 5}, "rate_control 'crf': mjpeg has cbr, qp"),
    ({"codec": "vp8", "rate_control": "qp", "quality": 5}, "rate_control 'qp': vp8 has cbr, vbr"),
    ({"codec": "av1", "rate_control": "vbr"}, "rate_control 'vbr': av1 has cbr, crf, qp"),
    ({"rate_control": "crf"}, "quality None: crf of h264 needs 0 to 51"),
    ({"rate_control": "qp", "quality": 52}, "quality 52: qp of h264 needs 0 to 51"),
    ({"codec": "mjpeg", "rate_control": "qp", "quality": 1}, "quality 1: qp of mjpeg needs 2 to 31"),
    ({"quality": 23}, "quality 23: cbr goes by bitrate; leave it out"),
    ({"max_bitrate": "5M"}, "max_bitrate '5M': bounds vbr, and crf of h264 and hevc; leave it out with cbr of h264"),
    (
        {"codec": "vp9", "rate_control": "crf", "quality": 30, "max_bitrate": "5M"},
        "max_bitrate '5M': bounds vbr, and crf of h264 and hevc; leave it out with crf of vp9",
    ),
    ({"rate_control": "vbr", "max_bitrate": "3M"}, "max_bitrate '3M': use 4M (the bitrate) or more"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_cannot_be_is_refused_with_its_fix(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        check_encoding(RenditionSpec(stream="cam0", **fields))
    assert refused.value.message == message
    assert refused.value.code == 400


def test_a_file_says_where_it_stands() -> None:
    document = {"streams": {"cam0": {"source": "test://", "renditions": {"low": {"codec": "av1", "quality": 20}}}}}
    with pytest.raises(InvalidValue, match=r"^streams\.cam0\.renditions\.low\.quality 20: cbr goes by bitrate"):
        plan_from_mapping(document)


@pytest.mark.parametrize(
    "fields", [{"codec": "h266"}, {"rate_control": "abr"}, {"quality": -1}, {"quality": "best"}, {"preset": "slowest"}]
)
def test_words_that_do_not_exist_are_refused_with_their_place(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"at `\$\.{next(iter(fields))}`"):
        msgspec.convert({"stream": "cam0", **fields}, StartRendition)


def test_the_defaults_of_every_codec_are_allowed() -> None:
    for kind in ENCODERS:
        check_encoding(RenditionSpec(stream="cam0", codec=kind.codec))


def test_every_codec_has_an_encoder_for_every_policy() -> None:
    for kind in ENCODERS:
        assert all(found.hardware for found in candidates(kind.codec, "require-hw"))
        assert any(found.hardware for found in candidates(kind.codec, "require-hw"))
        assert [found.hardware for found in candidates(kind.codec, "software")] == [False]
        assert not list(candidates(kind.codec, "prefer-hw"))[-1].hardware


def test_the_numbers_of_a_rate() -> None:
    assert Rate.of(RenditionSpec(stream="a", bitrate="2M")) == Rate("cbr", 2_000_000, 2_000_000, 0)
    assert Rate.of(RenditionSpec(stream="a", bitrate="2M", rate_control="vbr")) == Rate("vbr", 2_000_000, 3_000_000, 0)
    bounded = RenditionSpec(stream="a", rate_control="crf", quality=23, max_bitrate="5M")
    assert Rate.of(bounded) == Rate("crf", 0, 5_000_000, 23)
    assert Rate.of(bounded).buffer == {"maxrate": "5000000", "bufsize": "5000000"}
    assert Rate.of(RenditionSpec(stream="a", rate_control="qp", quality=23)).buffer == {}


def test_a_broken_document_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        plan_from_mapping({"streams": {"cam0": {"source": "test://", "renditions": {"low": {"rate_control": "x"}}}}})
