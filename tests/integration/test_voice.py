"""Who speaks is told once when it begins and once when it ends; a tone is no voice; nobody asked, nothing is judged."""

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from schemas.capture_commands import StatsRequest, StreamStats
from schemas.errors import BadRequest
from schemas.subjects import command
from services.capture.voice import FLOOR_DBFS, VoiceWatch
from shared.clients.mesh import AsyncMesh
from shared.media.tone import tone
from tests.support.client import async_client
from tests.support.mesh import RunningMesh
from tests.support.metrics import text
from tests.support.speech import SENTENCE_SECONDS, spoken_clip, spoken_samples

pytestmark = pytest.mark.integration

BLOCK_SAMPLES = 960  # 20 ms
BLOCK_SECONDS = BLOCK_SAMPLES / 48_000


class Listener:
    """A watch, what it has told, and the clock of the sound it is given."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.watch = VoiceWatch(lambda name, detail: self.told.append((name, detail)))
        self.now = 100.0

    def play(self, samples: npt.NDArray[np.int16]) -> None:
        for start in range(0, len(samples) - BLOCK_SAMPLES + 1, BLOCK_SAMPLES):
            self.watch.take(samples[start : start + BLOCK_SAMPLES], round(self.now * 1e9), self.now)
            self.now += BLOCK_SECONDS

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.told]


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="module")
def spoken() -> npt.NDArray[np.int16]:
    return spoken_samples()


def test_a_sentence_begins_and_ends_once(listener: Listener, spoken: npt.NDArray[np.int16]) -> None:
    listener.play(spoken)
    assert listener.names == ["voice-started", "voice-ended"]
    (_, started), (_, ended) = listener.told
    assert started["probability"] >= 0.5
    assert -60 < started["level_dbfs"] < 0
    assert 0.5 < started["captured_ns"] / 1e9 - 100 < 1.2
    assert ended["reason"] == "quiet"
    assert abs(ended["duration_s"] - (SENTENCE_SECONDS + 0.5)) < 0.6
    assert listener.watch.probability is not None
    assert listener.watch.probability < 0.35


def test_one_channel_is_enough(listener: Listener, spoken: npt.NDArray[np.int16]) -> None:
    listener.play(spoken[:, :1])
    assert listener.names == ["voice-started", "voice-ended"]


@pytest.mark.parametrize("noise", ["tone", "noise", "silence"])
def test_what_is_no_voice_is_none(listener: Listener, noise: str) -> None:
    samples = {
        "tone": tone(5_000, 96_000, 48_000, 2).reshape(-1, 2),  # begins after the beep
        "noise": np.random.default_rng(1).normal(0, 2_000, (96_000, 2)).astype(np.int16),
        "silence": np.zeros((96_000, 2), np.int16),
    }[noise]
    listener.play(samples[:40_000])  # ends before the next beep
    assert listener.names == []
    level = listener.watch.level_dbfs
    assert level is not None
    if noise == "tone":
        assert level == pytest.approx(-20, abs=0.2), "a tenth of full scale"
    if noise == "silence":
        assert level == FLOOR_DBFS


@pytest.mark.parametrize("end", ["no-sound", "lost", "off"])
def test_a_voice_never_outlives_its_sound(listener: Listener, spoken: npt.NDArray[np.int16], end: str) -> None:
    listener.play(spoken[: round(1.5 * 48_000)])
    assert listener.watch.speaking
    if end == "no-sound":
        listener.watch.look(listener.now + 0.5)
        assert listener.watch.speaking, "packets may be late"
        listener.watch.look(listener.now + 1.1)
    elif end == "lost":
        listener.watch.lost()
    else:
        listener.watch.close()
    assert listener.names == ["voice-started", "voice-ended"]
    assert listener.told[1][1]["reason"] == end
    assert (listener.watch.level_dbfs, listener.watch.probability, listener.watch.speaking) == (None, None, False)
    listener.play(spoken)
    assert len(listener.told) == (2 if end == "off" else 4)


async def _stats(app: AsyncMesh) -> StreamStats:
    return await app.bus.request(command("capture", "stats", "door"), StatsRequest(), StreamStats, 3)


async def test_a_camera_that_nobody_looks_at_tells_who_speaks() -> None:
    with RunningMesh() as mesh:
        spoken_clip(mesh.media_dir / "door.mp4")
        source = f"file://{mesh.media_dir}/door.mp4"
        async with async_client(mesh) as app:
            for wrong in ({"source": source, "audio": False}, {"source": "app://"}):
                with pytest.raises(BadRequest, match="voice"):
                    await app.start_stream("wrong", voice=True, **wrong)
            await app.start_stream("door", source)
            assert (await _stats(app)).level_dbfs is None, "nobody has asked"
            async with asyncio.timeout(15), app.events(stream="door") as events:
                changed = await app.start_stream("door", source, voice=True)
                assert changed.actual is not None
                found = [event async for event in _until_ended(events)]
                assert [event.event for event in found] == ["voice-started", "voice-ended"]
                assert found[0].detail["probability"] >= 0.5
                assert found[1].detail["duration_s"] > 1
                stats = await _stats(app)
                assert stats.level_dbfs is not None
                assert stats.voice_probability is not None
                assert stats.decoded_fps == 0, "only the sound is decoded"
                assert stats.restarts == 0, "it is taken on while the source runs"
                [actual] = [entry.actual for entry in await app.streams()]
                assert actual is not None
                assert not actual.decoding
                [capture] = [one for one in (await app.status()).services if one.service == "capture"]
                figures = await asyncio.to_thread(text, capture.metrics_url)
                assert 'framemesh_audio_level_dbfs{stream="door"} -' in figures
                assert 'framemesh_audio_voice_probability{stream="door"} ' in figures
                await app.start_stream("door", source)
                assert (await _stats(app)).level_dbfs is None, "nobody asks any more"


async def _until_ended(events: Any) -> Any:
    async for event in events:
        if event.event.startswith("voice-"):
            yield event
            if event.event == "voice-ended":
                return
