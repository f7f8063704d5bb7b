"""One job in this process: what it is failed by, and what remains of a first go when all of the video is needed."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.extraction import SubmitJob, VideoFacts
from schemas.sampling import Sampling
from schemas.stills import StillFormat
from services.frame_extractor import extraction as module
from services.frame_extractor.engine import ExcerptError, Limits, OpenVideo, take
from services.frame_extractor.extraction import Extraction, ExtractionFailed
from services.frame_extractor.pictures import picture
from services.frame_extractor.storage import Place, Places, StorageSettings
from tests.support.extractors import make_clip

REQUEST = SubmitJob(
    video="file://clip.mp4", to="file://{index}.jpg", sampling=Sampling(mode="uniform", count=4, end_s=0.9)
)


@pytest.fixture
def settings(tmp_path: Path) -> StorageSettings:
    (tmp_path / "media").mkdir()
    make_clip(tmp_path / "media" / "clip.mp4", 1.0)
    return StorageSettings(data_dir=tmp_path)


def test_a_pixel_format_that_no_picture_can_be_made_of_is_told_at_once(
    settings: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "_ABORTING", frozenset(("yuv420p",)))  # as those are that no encoder here makes
    with Extraction(REQUEST, Places(settings), Limits(), threads=1) as one, pytest.raises(ExtractionFailed) as failed:
        one.run()
    assert (failed.value.kind, failed.value.may_pass) == ("format", False)
    assert failed.value.message.startswith("file://clip.mp4: pixel format yuv420p: no picture can be made of it")


def test_nothing_of_an_excerpt_that_was_not_enough_is_left(
    settings: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes = 0
    written: list[int] = []

    class Slow(Places):
        def put(self, place: Place, data: bytes, file_format: StillFormat) -> None:
            go = goes
            time.sleep(0.3 if go == 1 else 0)  # a store that takes its time
            super().put(place, data, file_format)
            written.append(go)

    def taken(video: OpenVideo, sampling: Sampling, *args: Any, **options: Any) -> VideoFacts:
        nonlocal goes
        goes += 1
        if goes == 1:
            take(video, sampling, *args, **options)
            raise ExcerptError("video", "not enough")
        return take(video, msgspec.structs.replace(sampling, max_frames=2), *args, **options)

    monkeypatch.setattr(module, "take", taken)
    with Extraction(REQUEST, Slow(settings), Limits(), threads=1) as one:
        _, frames = one.run()
    assert [frame.index for frame in frames] == [0, 1]
    assert one.done == 2
    assert written == [1] * 4 + [2] * 2, "what was slow is not written over what came after it"
