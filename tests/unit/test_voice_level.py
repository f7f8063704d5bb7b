"""Who speaks, by the levels of packets: soon after it begins, a while after it ends, and not for clicks and fans."""

import pytest

from services.webrtc_gateway.ingest.voice_level import HOLD_SECONDS, VoiceLevel

pytestmark = pytest.mark.unit
ID, PACKET_S = 7, 0.02


class Speaker:
    def __init__(self) -> None:
        self.voice = VoiceLevel(ID)
        self.changes: list[tuple[bool, float]] = []
        self.now_s = 0.0
        self.voice.changed = lambda speaking: self.changes.append((speaking, round(self.now_s, 3)))

    def sound(self, seconds: float, level_dbov: int, packet_s: float = PACKET_S) -> None:
        for _ in range(round(seconds / packet_s)):
            self.now_s += packet_s
            self.voice.take({ID: bytes((0x80 | -level_dbov,))}, self.now_s)

    def speech(self, seconds: float, level_dbov: int = -25) -> None:
        """Syllables of 0.16 s, and as much between them as people leave."""
        for _ in range(round(seconds / 0.24)):
            self.sound(0.16, level_dbov)
            self.sound(0.08, level_dbov - 25)


def test_a_voice_begins_soon_and_is_held_across_pauses() -> None:
    speaker = Speaker()
    speaker.sound(3, -70)
    began_s = speaker.now_s
    speaker.speech(3)
    speaker.sound(HOLD_SECONDS - 0.5, -70)
    speaker.speech(2)
    ended_s = speaker.now_s
    speaker.sound(4, -70)
    assert [speaking for speaking, _ in speaker.changes] == [True, False]
    assert speaker.changes[0][1] - began_s <= 0.3
    assert HOLD_SECONDS - 0.2 <= speaker.changes[1][1] - ended_s <= HOLD_SECONDS + 0.1


@pytest.mark.parametrize("packet_s", [0.01, 0.04, 0.06])
def test_packets_of_any_length_begin_a_voice_in_time(packet_s: float) -> None:
    speaker = Speaker()
    speaker.sound(1.2, -80, packet_s)
    began_s = speaker.now_s
    speaker.sound(0.48, -20, packet_s)
    assert [speaking for speaking, _ in speaker.changes] == [True]
    assert speaker.changes[0][1] - began_s <= 0.3


def test_clicks_and_fans_and_rubbish_are_no_voices() -> None:
    typing = Speaker()
    for _ in range(30):
        typing.sound(0.04, -15)
        typing.sound(0.2, -65)
    assert typing.changes == []

    fan = Speaker()
    fan.sound(60, -38)
    assert [speaking for speaking, _ in fan.changes][-1:] == [False], "what never pauses is part of the room"
    fan.speech(3, -18)
    assert fan.voice.speaking, "who speaks beside it is heard"

    rubbish = Speaker()
    for extensions in ({}, {ID: b""}, {1: b"\x01"}, {ID: b"\x7f" * 16}):
        rubbish.voice.take(extensions, 1.0)
    assert rubbish.changes == []


def test_sound_that_stays_away_ends_a_voice_and_its_level() -> None:
    speaker = Speaker()
    assert speaker.voice.level_dbov(0.0) is None
    speaker.sound(2, -30)
    level = speaker.voice.level_dbov(speaker.now_s)
    assert level is not None
    assert -32 <= level <= -30
    speaker.now_s += HOLD_SECONDS + 0.1
    speaker.voice.look(speaker.now_s)
    assert not speaker.voice.speaking
    assert speaker.voice.level_dbov(speaker.now_s) is None


def test_packets_that_come_in_one_burst_are_not_a_long_sound() -> None:
    speaker = Speaker()
    speaker.sound(1, -70)
    speaker.sound(0.1, -20, 0.0005)
    assert speaker.changes == []
