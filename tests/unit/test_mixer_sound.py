"""The sound of a mix: exact where it can be, bounded where it must be, and in time for as long as it plays."""

import numpy as np
import pytest

from services.cloud_mix_proxy.mixer.sound import Limiter, SoundMixer, gain_of
from services.cloud_mix_proxy.mixer.sound_input import SAMPLE_RATE, SoundInput, sample_at
from services.cloud_mix_proxy.mixer.timeline import Timeline

pytestmark = pytest.mark.unit
BLOCK = 960
MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS
START = sample_at(START_NS)


def tone(hertz: float, level: float, first: int, count: int) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(first, first + count) / SAMPLE_RATE)
    return np.rint(np.repeat(wave[:, None], 2, axis=1) * 32767).astype(np.int16)


def playing(hertz: float, level: float, blocks: int = 10) -> SoundInput:
    one = SoundInput()
    for number in range(blocks):
        one.put(START_NS + number * 20 * MS_NS, tone(hertz, level, number * BLOCK, BLOCK))
    return one


def heard(data: bytes, channels: int = 2) -> np.ndarray:
    return np.frombuffer(data, "<i2").reshape(-1, channels)


def settled(mixer: SoundMixer, inputs: dict[SoundInput, float], first: int = START) -> np.ndarray:
    """The block after the one in which the gains came up."""
    mixer.block(inputs, first, BLOCK)
    return heard(mixer.block(inputs, first + BLOCK, BLOCK))


def test_one_input_is_heard_to_the_bit() -> None:
    one = playing(440, 0.9)
    np.testing.assert_array_equal(settled(SoundMixer(2), {one: 1.0}), tone(440, 0.9, BLOCK, BLOCK))


def test_inputs_are_added_by_their_gains() -> None:
    low, high = playing(200, 0.5), playing(1000, 0.25)
    mixed = settled(SoundMixer(2), {low: 0.5, high: 1.0, playing(3000, 1.0): gain_of(20, True)})
    expected = tone(200, 0.25, BLOCK, BLOCK).astype(int) + tone(1000, 0.25, BLOCK, BLOCK)
    assert np.abs(mixed - expected).max() <= 2
    mono = SoundMixer(1)
    mono.block({low: 1.0}, START, BLOCK)
    assert (
        np.abs(heard(mono.block({low: 1.0}, START + BLOCK, BLOCK), 1)[:, 0] - tone(200, 0.5, BLOCK, BLOCK)[:, 0]).max()
        <= 1
    )
    assert gain_of(-20, False) == pytest.approx(0.1)


def test_too_much_is_turned_down_and_never_wraps() -> None:
    inputs = {playing(100 * number, 1.0, 50): 1.0 for number in range(1, 6)}
    mixer = SoundMixer(2)
    blocks = [heard(mixer.block(inputs, START + number * BLOCK, BLOCK)) for number in range(50)]
    loud = np.concatenate(blocks).astype(int)
    assert loud.max() > 20_000
    steps = np.abs(np.diff(loud[:, 0]))
    assert steps.max() < 3000, "no clicks: five full tones of 500 Hz and less move by that at most"
    # The tones are what is heard, not their distortion.
    spectrum = np.abs(np.fft.rfft(loud[BLOCK * 5 :, 0] * np.hanning(len(loud) - BLOCK * 5)))
    hertz = np.fft.rfftfreq(len(loud) - BLOCK * 5, 1 / SAMPLE_RATE)
    wanted = spectrum[hertz < 600].max()
    assert spectrum[hertz > 1500].max() < wanted / 100


def test_the_limiter_lets_go_again_and_then_changes_nothing() -> None:
    limiter, quiet = Limiter(), tone(440, 0.5, 0, BLOCK).astype(np.float32) / 32768
    assert limiter.limit(quiet) is quiet
    limiter.limit(quiet * 4)
    assert np.abs(limiter.limit(quiet)).max() < 0.4
    for _ in range(150):
        last = limiter.limit(quiet)
    assert last is quiet


def test_what_is_missing_is_silence_and_gains_change_without_a_click() -> None:
    one = playing(50, 0.5, 3)
    mixer = SoundMixer(2)
    blocks = [heard(mixer.block({one: 1.0}, START + number * BLOCK, BLOCK)) for number in (-1, 0, 1, 2, 3)]
    assert not blocks[0].any()
    assert not blocks[4].any()
    fading = SoundMixer(2)
    on = settled(fading, {one: 1.0})
    off = heard(fading.block({}, START + 2 * BLOCK, BLOCK))
    both = np.concatenate([on, off]).astype(int)
    assert np.abs(np.diff(both[:, 0])).max() < 200
    assert np.abs(off[-20:]).max() < 400
    assert not heard(fading.block({}, START + 3 * BLOCK, BLOCK)).any()


@pytest.mark.parametrize("error", [-300e-6, 50e-6, 300e-6])
def test_a_clock_that_goes_wrong_is_followed_while_it_plays(error: float) -> None:
    """Beeps each second by the input's own clock are heard where its pictures are: by the machine's."""
    one = SoundInput()
    seconds = 120
    beep = tone(1000, 0.5, 0, 48)
    heard_at: list[float] = []
    for number in range(seconds * 50):
        block = np.zeros((BLOCK, 2), np.int16)
        if number % 50 == 0:
            block[:48] = beep
        # What it calls 20 ms takes it a little more or less.
        one.put(START_NS + int(number * 20 * MS_NS * (1 + error)), block)
        begins = int(START_NS + number * 20 * MS_NS * (1 + error))
        if number % 50 == 0 and number:  # the first one is the beginning, which is faded in
            found = one.take(sample_at(begins) - 480, 2 * BLOCK)[:, 0]
            heard_at.append((int(np.argmax(np.abs(found) > 0.1)) - 480) / 48)
    late = max(abs(at) for at in heard_at)
    assert len(heard_at) == seconds - 1
    assert late < 2, f"{late} ms"


def test_another_beginning_is_taken_over_at_once() -> None:
    one = playing(440, 0.5)
    later = START_NS + 10 * SECOND_NS
    one.put(later, tone(440, 0.5, 0, BLOCK))
    assert not one.take(sample_at(later) - BLOCK, BLOCK).any()
    assert np.abs(one.take(sample_at(later) + 480, 48)).max() > 0.4
    one.put(START_NS, tone(440, 0.5, 0, BLOCK))
    assert np.abs(one.take(START + 480, 48)).max() > 0.4


def test_a_gap_within_the_sound_is_silence() -> None:
    one = SoundInput()
    one.put(START_NS, tone(440, 0.5, 0, BLOCK))
    one.put(START_NS + 100 * MS_NS, tone(440, 0.5, 0, BLOCK))
    gap = one.take(START + BLOCK, 80 * 48)
    assert not gap.any()
    assert np.abs(one.take(START + 100 * 48 + 300, 300)).max() > 0.4


def test_what_comes_after_its_moment_is_counted() -> None:
    one = playing(440, 0.5, 1)
    one.take(START, 2 * BLOCK)
    one.put(START_NS + 20 * MS_NS, tone(440, 0.5, 0, BLOCK))
    assert one.late_blocks == 1
    one.put(START_NS + 40 * MS_NS, tone(440, 0.5, 0, BLOCK))
    assert one.late_blocks == 1


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_become_two(channels: int) -> None:
    one = SoundInput()
    block = np.zeros((BLOCK, channels), np.int16)
    block[:, 0] = 8192
    one.put(START_NS, block)
    found = one.take(START + 480, 10)
    assert (found[:, 0] == 0.25).all()
    assert (found[:, 1] == (0.25 if channels == 1 else 0)).all()


def test_times_of_an_input_are_those_of_this_machine_evenly() -> None:
    clock, noise = Timeline(), np.random.default_rng(1)
    error = 1 + 100e-6
    told = []
    for number in range(50 * 120):
        pts = START_NS + number * 20 * MS_NS
        captured = START_NS + 7 * MS_NS + int(number * 20 * MS_NS * error) + int(noise.exponential(4 * MS_NS))
        clock.saw(pts, captured)
        told.append(clock.at(pts) - (START_NS + number * 20 * MS_NS * error))
    steps = np.diff(np.array(told[100:])) / MS_NS
    assert np.abs(steps).max() < 0.05, "no picture is moved by what came late"
    assert max(told[500:]) - min(told[500:]) < 6 * MS_NS


def test_a_single_late_one_moves_nothing_and_another_beginning_does() -> None:
    clock = Timeline()
    for number in range(50):
        clock.saw(number * 20 * MS_NS, number * 20 * MS_NS)
    clock.saw(SECOND_NS, 3 * SECOND_NS)
    assert abs(clock.at(SECOND_NS) - SECOND_NS) < 2 * MS_NS
    for number in range(5):
        clock.saw(number * 20 * MS_NS, 10 * SECOND_NS + number * 20 * MS_NS)
    assert clock.at(80 * MS_NS) == 10 * SECOND_NS + 80 * MS_NS
