"""Offers to send as Chromium 156 makes them, and as nobody should."""

import random
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from schemas.errors import BadRequest
from services.webrtc_gateway.ingest.answer import write_ingest_answer
from services.webrtc_gateway.ingest.offer import IngestOffer, match_ingest
from services.webrtc_gateway.signalling.offer import AUDIO_LEVEL, NotAcceptable, read_offer

pytestmark = pytest.mark.unit
# Camera and microphone, and two layers of simulcast.
CHROMIUM = (Path(__file__).parent / "fixtures" / "whip_offer_chromium.sdp").read_bytes().decode()


def match(text: str) -> IngestOffer:
    return match_ingest(read_offer(text), text)


def answer_to(offer: IngestOffer) -> str:
    return write_ingest_answer(
        offer,
        ufrag="ufrag",
        password="p" * 24,
        fingerprint="AA:BB",
        candidates=["1 1 udp 1 ::1 9 typ host"],
        max_bps=8_000_000,
    )


def only(text: str, *codecs: str) -> str:
    """The offer with no video codec but these."""
    lines = text.split("\r\n")
    names = {line.split()[0].split(":")[1]: line.split()[1].split("/")[0] for line in lines if "a=rtpmap:" in line}
    gone = {number for number, name in names.items() if name not in (*codecs, "opus")}
    kept = []
    for line in lines:
        if line.startswith("m=video"):
            words = line.split()
            kept.append(" ".join([*words[:3], *(number for number in words[3:] if number not in gone)]))
        elif not line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")) or line.split()[0].split(":")[1] not in gone:
            kept.append(line)
    return "\r\n".join(kept)


def test_a_camera_and_a_microphone_are_taken_as_h264_and_opus() -> None:
    offer = match(CHROMIUM)
    sound, video = offer.terms.tracks
    assert (sound.track, sound.codec, sound.payload_type, sound.clock_hz) == ("opus", None, 111, 48_000)
    assert (video.track, video.codec, video.payload_type, video.repair_type) == ("video", "h264", 108, 109)
    assert video.feedback == {"nack", "nack pli", "ccm fir", "goog-remb"}
    assert not sound.feedback
    text = answer_to(offer)
    answer = SessionDescription.parse(text)
    assert [m.direction for m in answer.media] == ["recvonly", "recvonly"]
    assert [m.rtp.muxId for m in answer.media] == ["0", "1"]
    assert video.layers is not None
    assert video.layers.renditions == {"a": "a", "b": "b"}
    assert "a=rid:a recv\r\na=rid:b recv\r\na=simulcast:recv a;b\r\n" in text
    assert text.count("rtp-stream-id") == 2
    plain = match(CHROMIUM.replace("a=simulcast:", "a=x-simulcast:"))
    assert plain.terms.tracks[1].layers is None
    assert "a=rid" not in answer_to(plain)
    assert "transport-cc" not in text, "what is not answered by feedback must not be promised"
    assert "b=AS:8000" in text
    assert "a=fmtp:109 apt=108" in text


@pytest.mark.parametrize("attributes", ["", " vad=on"])
def test_how_loud_it_is_may_be_told(attributes: str) -> None:
    line = next(line for line in CHROMIUM.splitlines() if AUDIO_LEVEL in line)
    offer = match(CHROMIUM.replace(line, line + attributes))
    sound, video = offer.terms.tracks
    assert f"a=extmap:{sound.audio_level_id} {AUDIO_LEVEL}" == line
    assert video.audio_level_id is None
    assert answer_to(offer).count(line) == 1
    assert match(CHROMIUM.replace(line + "\r\n", "")).terms.tracks[0].audio_level_id is None


@pytest.mark.parametrize(
    ("offered", "taken"), [(("VP8", "rtx"), "vp8"), (("VP9", "AV1"), "vp9"), (("AV1",), "av1"), (("H265",), "hevc")]
)
def test_a_page_chooses_by_what_it_offers(offered: tuple[str, ...], taken: str) -> None:
    text = only(CHROMIUM, *offered)
    if taken == "hevc":
        text = only(CHROMIUM, "VP8").replace("VP8/90000", "H265/90000")
    video = match(text).terms.tracks[1]
    assert video.codec == taken
    assert (video.repair_type is not None) == ("rtx" in offered)


def test_data_channels_are_taken_in_the_bundle() -> None:
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:7\r\na=sctp-port:5000\r\n"
    offer = match(CHROMIUM + data)
    assert offer.terms.data is not None
    answer = SessionDescription.parse(answer_to(offer))
    assert (answer.media[2].kind, answer.media[2].port, answer.media[2].sctp_port) == ("application", 9, 5000)
    assert answer.group[0].items == ["0", "1", "7"]
    refused = SessionDescription.parse(answer_to(match(CHROMIUM + data.replace("sctp-port:5000", "sctp-port:0"))))
    assert (refused.media[2].port, refused.group[0].items) == (0, ["0", "1"])


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_one_of_both_is_enough(kind: str) -> None:
    head, audio, video = CHROMIUM.replace("m=", "\0m=").split("\0")
    section = audio if kind == "audio" else video
    offer = match(head.replace("BUNDLE 0 1", f"BUNDLE {0 if kind == 'audio' else 1}") + section)
    assert [track.track for track in offer.terms.tracks] == ["opus" if kind == "audio" else "video"]
    turned = CHROMIUM.replace("m=audio 9" if kind == "video" else "m=video 9", "m=application 9", 1)
    assert "m=application 0" in answer_to(match(turned)), "what is not known is refused, the rest is taken"


def test_parameter_sets_of_the_offer_are_kept() -> None:
    text = CHROMIUM.replace("a=fmtp:108 ", "a=fmtp:108 sprop-parameter-sets=Z0LgHg==,aM4=,!!!;")
    assert match(text).terms.tracks[1].extradata == b"\0\0\0\1\x67\x42\xe0\x1e\0\0\0\1\x68\xce"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CHROMIUM.replace("a=sendonly", "a=recvonly"), "nothing to receive"),
        (CHROMIUM.replace("a=fingerprint", "a=x-fingerprint"), "a=fingerprint"),
        (CHROMIUM.replace("a=setup:actpass", "a=setup:passive"), "a=setup:passive"),
        (CHROMIUM.replace("a=ice-ufrag", "a=x-ufrag"), "a=ice-ufrag"),
        (CHROMIUM.replace("a=rtcp-mux", "a=x-mux"), "a=rtcp-mux"),
        ("v=0\r\n", "not an SDP offer|no m-line"),
        ("hello", "not an SDP offer|no m-line"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        match(text)
    assert refused.value.code == (406 if isinstance(refused.value, NotAcceptable) else 400)


def test_hundreds_of_broken_offers_are_refused_or_answered() -> None:
    dice = random.Random("whip offers")
    answered = refused = 0
    for _ in range(600):
        lines = CHROMIUM.split("\r\n")
        for _ in range(dice.randint(1, 12)):
            at = dice.randrange(len(lines))
            match dice.randrange(5):
                case 0:
                    del lines[at]
                case 1:
                    lines.insert(at, lines[dice.randrange(len(lines))])
                case 2:
                    line = lines[at]
                    cut = dice.randint(0, len(line))
                    lines[at] = (
                        line[:cut] + dice.choice(("", "-1", "99999999999", "\x00", "é", " ", ":")) + line[cut + 1 :]
                    )
                case 3:
                    lines[at] = lines[at].replace("0", dice.choice(("9", "", "256")))
                case _:
                    lines[at] = lines[at][: dice.randint(0, len(lines[at]))]
        try:
            answer_to(match("\r\n".join(lines)))
            answered += 1
        except BadRequest:
            refused += 1
    assert answered > 50
    assert refused > 50
