"""The vocabulary: ids, subjects, units, packets."""

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.errors import BadRequest, InvalidValue, MeshError, error_from_code
from schemas.frames import AudioHeader, FrameRef
from schemas.ids import Id, check_id, compound_id, id_from_hostname, split_compound_id
from schemas.packets import PacketHeader, pack, unpack_audio, unpack_packet
from schemas.units import parse_bitrate, parse_bytes, parse_duration, parse_size

GOOD_IDS = ["a", "cam0", "line-1", "0", "a" * 63]
BAD_IDS = ["", "A", "cam_0", "-a", "a-", "a--b", "a" * 64, "a.b", "a*", ">", "a b", "cam0\n", "ä", "../x", "a/b"]


@pytest.mark.parametrize("text", GOOD_IDS)
def test_good_ids(text: str) -> None:
    assert check_id(text) == text
    assert msgspec.convert(text, Id) == text


@pytest.mark.parametrize("text", BAD_IDS)
def test_bad_ids_are_refused_by_code_and_by_type(text: str) -> None:
    with pytest.raises(InvalidValue):
        check_id(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Id)


@given(st.text())
def test_no_text_ever_builds_a_subject_with_another_shape(text: str) -> None:
    try:
        subject = subjects.frames("node", text)
    except InvalidValue:
        return
    assert subject.count(".") == 4
    assert not set(subject) - set(string.ascii_lowercase + string.digits + ".-")


@given(st.text(min_size=1))
def test_every_host_name_gives_a_valid_node(text: str) -> None:
    check_id(id_from_hostname(text))


def test_compound_ids_split_only_one_way() -> None:
    assert split_compound_id(compound_id("cam-0", "main")) == ("cam-0", "main")
    for wrong in ("cam0", "cam0--", "--main", "a--b--c", "cam0---main"):
        with pytest.raises(InvalidValue):
            split_compound_id(wrong)


@pytest.mark.parametrize(("text", "value"), [("4M", 4_000_000), ("800k", 800_000), ("1.5M", 1_500_000), ("9", 9)])
def test_bitrates(text: str, value: int) -> None:
    assert parse_bitrate(text) == value


@pytest.mark.parametrize("text", ["", "M", "-4M", "4G", "0", "4 M", "1e6", "4Mbit"])
def test_bad_bitrates_teach(text: str) -> None:
    with pytest.raises(InvalidValue, match="for example 4M"):
        parse_bitrate(text)


@pytest.mark.parametrize("text", ["9" * 18, "9" * 400, "9" * 17 + ".5"])
def test_numbers_that_nobody_means(text: str) -> None:
    """Of hundreds of digits a float is infinite, and what does not fit into 64 bits is written nowhere."""
    with pytest.raises(InvalidValue):
        parse_bitrate(text)
    for unit in ("s", "d"):
        with pytest.raises(InvalidValue, match="36500d"):
            parse_duration(text + unit)
    with pytest.raises(InvalidValue):
        parse_bytes(text + "T", "size")
    assert parse_duration("36500d") * 1e9 < 2**63


def test_durations_and_sizes() -> None:
    assert parse_duration("200ms") == pytest.approx(0.2)
    assert parse_duration("7d") == 604_800
    assert parse_size("1280x720") == (1280, 720)
    for wrong in ("1280", "1281x720", "0x0", "1280X720", "99999x2"):
        with pytest.raises(InvalidValue):
            parse_size(wrong)


HEADER = PacketHeader(
    stream="cam0", rendition="main", track="video", codec="h264", epoch=3, sequence=9, run=5, index=7, key=True,
    pts_ns=1, dts_ns=1, captured_ns=2, extradata=b"\0\1",
)  # fmt: skip
AUDIO = AudioHeader(
    stream="cam0", node="n", epoch=1, sequence=2, sample_rate=48_000, channels=2, sample_format="s16", samples=480,
    pts_ns=1, captured_ns=1,
)  # fmt: skip


@given(st.binary(max_size=2000))
def test_packets_come_back_as_they_went(payload: bytes) -> None:
    header, data = unpack_packet(pack(HEADER, payload))
    assert (header, bytes(data)) == (HEADER, payload)
    audio, samples = unpack_audio(pack(AUDIO, payload))
    assert (audio, bytes(samples)) == (AUDIO, payload)


@given(st.binary(max_size=400))
def test_hostile_messages_are_typed_errors(message: bytes) -> None:
    for unpack in (unpack_packet, unpack_audio):
        try:
            unpack(message)
        except BadRequest:
            continue


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_packet_never_raises_anything_else(position: int, value: int) -> None:
    message = bytearray(pack(HEADER, b"payload"))
    message[position % len(message)] = value
    try:
        unpack_packet(bytes(message))
    except BadRequest:
        return


def test_references_ignore_what_newer_writers_add_and_refuse_paths() -> None:
    ref = FrameRef(
        stream="cam0", node="n", epoch=1, sequence=1, ring="cam0.1.ab.ring", slot=0, pixel_format="yuv420p",
        width=2, height=2, pts_ns=0, captured_ns=0, monotonic_ns=0,
    )  # fmt: skip
    fields = msgspec.json.decode(msgspec.json.encode(ref))
    assert msgspec.convert({**fields, "colour": "new"}, FrameRef) == ref
    for hostile in ("../../etc/passwd", "a/b", "", "x" * 300, "a\n"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**fields, "ring": hostile}, FrameRef)


def test_errors_keep_their_code_both_ways() -> None:
    for code in (400, 404, 409, 429, 500, 503, 507):
        error = error_from_code(code, "text")
        assert isinstance(error, MeshError)
        assert error.info.code == code
    assert error_from_code(418, "x").code == 500
