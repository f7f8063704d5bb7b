"""What a Sora client's wishes for sound and pictures make of its offer, and where else it may go."""

import json
from typing import Any

import msgspec
import pytest

from schemas.errors import InvalidValue
from schemas.sora import PushToChannel
from services.webrtc_gateway.settings import SignalingUrl
from services.webrtc_gateway.sora.client_messages import Connect, read
from services.webrtc_gateway.sora.everywhere import MAX_PUSH_BYTES, check_push
from services.webrtc_gateway.sora.layout import Layout
from services.webrtc_gateway.sora.messages import Config, IceServer
from services.webrtc_gateway.sora.nesting import MAX_LEVELS
from services.webrtc_gateway.sora.refusal import Refusal
from services.webrtc_gateway.sora.sections import Transport, write_offer
from services.webrtc_gateway.sora.terms import read_terms
from services.webrtc_gateway.transport.ice_servers import IceServers

pytestmark = pytest.mark.unit
TRANSPORT = Transport("ufrag", "p" * 24, ":".join(["AB"] * 32), ())
MAX_BPS = 8_000_000


def connect(**fields: Any) -> Connect:
    said = read(json.dumps({"type": "connect", "role": "sendrecv", "channel_id": "c", **fields}))
    assert isinstance(said, Connect)
    return said


def offered(**fields: Any) -> list[str]:
    """The lines of the offer to a client that sends and receives."""
    layout = Layout()
    layout.add_uplink(("audio", "video"))
    layout.take(("audio", "video"), "cam0")
    return write_offer(layout.sections, read_terms(connect(**fields), MAX_BPS), TRANSPORT, 1, 1).splitlines()


def test_sound_is_as_the_client_asks() -> None:
    opus = {"channels": 2, "maxplaybackrate": 16000, "stereo": True, "sprop_stereo": False, "usedtx": True}
    lines = offered(audio={"codec_type": "OPUS", "bit_rate": 64, "opus_params": opus})
    (fmtp,) = {line for line in lines if line.startswith("a=fmtp:109 ")}
    said = dict(item.split("=") for item in fmtp.partition(" ")[2].split(";"))
    assert said == {
        "minptime": "10",
        "useinbandfec": "1",
        "maxplaybackrate": "16000",
        "stereo": "1",
        "sprop-stereo": "0",
        "usedtx": "1",
        "maxaveragebitrate": "64000",
    }
    assert "maxaveragebitrate=510000" in str(offered(audio={"bit_rate": 10**9}))
    assert "maxaveragebitrate=6000" in str(offered(audio={"bit_rate": -1}))


@pytest.mark.parametrize(
    ("codec", "params", "fmtp"),
    [
        ("VP9", {"vp9_params": {"profile_id": 2}}, "profile-id=2"),
        ("AV1", {"av1_params": {"profile": 1}}, "profile=1"),
        (
            "H264",
            {"h264_params": {"profile_level_id": "640C1F"}},
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f",
        ),
        ("VP9", {}, "profile-id=0"),
        ("AV1", {"vp9_params": {"profile_id": 2}}, "profile=0"),
    ],
)
def test_pictures_have_the_profile_and_the_rate_that_the_client_asks_for(
    codec: str, params: dict[str, Any], fmtp: str
) -> None:
    lines = offered(video={"codec_type": codec, "bit_rate": 900, **params})
    told = [line.partition(" ")[2] for line in lines if line.startswith("a=fmtp:") and "profile" in line]
    assert told == [f"{fmtp};x-google-start-bitrate=900", fmtp], "one payload type is one codec in all m-lines"
    assert "b=AS:900" in lines
    assert f"b=AS:{MAX_BPS // 1000}" in offered(video={"bit_rate": 10**9})


@pytest.mark.parametrize(
    ("video", "what"),
    [
        ({"vp9_params": {"profile_id": 4}}, r"\$\.video\.vp9_params\.profile_id"),
        ({"av1_params": {"profile": "main"}}, r"\$\.video\.av1_params\.profile"),
        ({"h264_params": {"profile_level_id": "42e01f\r\na=x"}}, r"\$\.video\.h264_params\.profile_level_id"),
        ({"h264_params": {"profile_level_id": "42e01f\n"}}, r"\$\.video\.h264_params\.profile_level_id"),
        ({"bit_rate": "1M"}, r"\$\.video\.bit_rate"),
    ],
)
def test_what_is_none_is_named(video: dict[str, Any], what: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=what):
        connect(video=video)


def test_a_codec_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(Refusal) as refused:
        read_terms(connect(video={"codec_type": "MPEG2\n"}), MAX_BPS)
    assert refused.value.text == b"INVALID-VIDEO-CODEC-TYPE give one of VP8, VP9, AV1, H264, H265"
    long = Refusal("INVALID-MESSAGE", "日本\n" + "x" * 500).text
    assert long.startswith(b"INVALID-MESSAGE ???xxx")
    assert len(long) == 123


def test_servers_have_all_that_clients_end_without(tmp_path: Any) -> None:
    secret = tmp_path / "credential"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    servers = IceServers(("stun:a.example", "turn:b.example"), username="me", credential_file=secret)
    told = Config(tuple(IceServer((each.url,), each.username, each.credential) for each in servers.entries("x")))
    assert json.loads(msgspec.json.encode(told))["iceServers"] == [
        {"urls": ["stun:a.example"], "username": "", "credential": ""},
        {"urls": ["turn:b.example"], "username": "me", "credential": "s3cret"},
    ]


def test_what_is_pushed_can_be_read_by_clients() -> None:
    deep: Any = 1
    for _ in range(MAX_LEVELS + 1):
        deep = [deep]
    for bad, what in ((deep, "levels"), ("x" * MAX_PUSH_BYTES, str(MAX_PUSH_BYTES))):
        with pytest.raises(InvalidValue, match=f"data .*{what}"):
            check_push(PushToChannel(channel="c", data=bad))
    check_push(PushToChannel(channel="c", data=deep[0]))


@pytest.mark.parametrize(
    "bad", ["http://a/signaling", "wss://a", "wss://user:pw@a/signaling", "ws://a/b c", "ws://a/\n"]
)
def test_a_place_to_go_to_is_a_signalling_url(bad: str) -> None:
    for fine in ("wss://a.example/signaling", "ws://127.0.0.1:8889/signaling", "wss://[::1]:1/signaling"):
        assert msgspec.convert(fine, SignalingUrl) == fine
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, SignalingUrl)
