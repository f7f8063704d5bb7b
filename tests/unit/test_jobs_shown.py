"""Pictures of jobs for whoever looks, and what is told of jobs to whom."""

from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from av.video.frame import VideoFrame

from schemas.errors import BadRequest, Conflict, InternalError, MeshError, NotFound
from schemas.events import Event
from schemas.extraction import ExtractedFrame, FetchJobPicture, Job, JobPicture, JobReply, JobState, PollJob
from schemas.sampling import PictureOptions
from schemas.still_format import StillFormat
from services.frame_extractor.jobs.shown import JobPictures
from services.frame_extractor.pictures import make_picture
from services.frame_extractor.storage import Places
from services.frame_extractor.storage.settings import StorageSettings
from services.webrtc_gateway.auth.grant import EVERYTHING, Grant
from services.webrtc_gateway.auth.visible import visible_message
from services.webrtc_gateway.web.event_history import KEPT_OF_A_STREAM, EventHistory
from shared.bus import Message

JOB = "task-20260504100000-abc123def456"
WIDTH, HEIGHT = 320, 180
BUS_BYTES = 1 << 20
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data\n"


def picture(kind: StillFormat = "jpg") -> bytes:
    ramp = np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))
    frame = VideoFrame.from_ndarray(np.dstack((ramp, ramp[::, ::-1], ramp)), "rgb24")
    return make_picture(frame, PictureOptions(format=kind)).data


class Shown:
    """Jobs of one picture in a folder; the record of the job is as a test says."""

    def __init__(self, folder: Path, state: JobState = "completed", bus_bytes: int = BUS_BYTES) -> None:
        self.path = folder / "pictures" / "0.jpg"
        self.path.parent.mkdir(exist_ok=True)
        self._state = state
        places = Places(StorageSettings(data_dir=folder))
        self.pictures = JobPictures(self._poll, places, lambda: bus_bytes)

    async def _poll(self, request: PollJob) -> JobReply:
        job = Job(id=JOB, state=self._state, owner="mesh", video="file://a.mp4", to="", submitted_ns=1, done=1)
        frame = ExtractedFrame(
            index=0, timestamp_s=0.5, pts_s=0.5, width=WIDTH, height=HEIGHT, path=f"file://{self.path}"
        )
        return JobReply(job=job, frames=(frame,) if request.first == 0 and self._state == "completed" else ())

    async def fetch(self, index: int = 0, max_width: int | None = None) -> JobPicture:
        return await self.pictures.fetch(FetchJobPicture(job=JOB, index=index, max_width=max_width))


def size_of(data: bytes) -> tuple[int, int]:
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    (frame,) = decoder.decode(av.Packet(data))
    return frame.width, frame.height


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
async def test_whole_or_small(tmp_path: Path, kind: StillFormat) -> None:
    shown = Shown(tmp_path)
    shown.path.write_bytes(data := picture(kind))  # whatever the name says
    whole = await shown.fetch()
    assert (whole.data, whole.format, whole.frame.timestamp_s) == (data, kind, 0.5)
    small = await shown.fetch(max_width=64)
    assert (small.format, size_of(small.data)) == ("jpg", (64, 36))
    assert (await shown.fetch(max_width=WIDTH)).data == data, "nothing is made larger"


@pytest.mark.parametrize(
    ("data", "state", "index", "bus_bytes", "error", "text"),
    [
        (None, "completed", 0, BUS_BYTES, NotFound, "not there any more"),
        (PLAYLIST, "completed", 0, BUS_BYTES, NotFound, "no jpg, png or webp"),
        (b"\xff\xd8\xff" + bytes(100), "completed", 0, BUS_BYTES, InternalError, "cannot be decoded"),
        (picture(), "completed", 1, BUS_BYTES, NotFound, "has no picture 1; it has 1"),
        (picture(), "running", 0, BUS_BYTES, Conflict, "is running"),
        (picture("png"), "completed", 0, 8192, BadRequest, "give max_width"),
    ],
)
async def test_what_cannot_be_shown(
    tmp_path: Path, data: bytes | None, state: JobState, index: int, bus_bytes: int, error: type[MeshError], text: str
) -> None:
    shown = Shown(tmp_path, state, bus_bytes)
    if data is not None:
        shown.path.write_bytes(data)
    with pytest.raises(error, match=text) as refused:
        await shown.fetch(index, 64 if error is InternalError else None)
    assert str(tmp_path / "data") not in refused.value.message


async def test_pictures_behind_one_that_could_not_be_decoded_are_found(tmp_path: Path) -> None:
    """Their index is higher than their number in the list, which comes in pages of 4."""
    path = tmp_path / "pictures" / "0.jpg"
    path.parent.mkdir()
    path.write_bytes(picture())
    indices = [index for index in range(20) if index not in (0, 3, 4, 5, 11, 19)]
    frames = [
        ExtractedFrame(index=index, timestamp_s=index, pts_s=index, width=WIDTH, height=HEIGHT, path=f"file://{path}")
        for index in indices
    ]

    async def poll(request: PollJob) -> JobReply:
        job = Job(id=JOB, state="completed", owner="mesh", video="", to="", submitted_ns=1, done=len(frames))
        end = (request.first // 4 + 1) * 4
        return JobReply(job=job, frames=tuple(frames[request.first : end]), more=end < len(frames))

    pictures = JobPictures(poll, Places(StorageSettings(data_dir=tmp_path)), lambda: BUS_BYTES)
    for index in range(22):
        asked = FetchJobPicture(job=JOB, index=index)
        if index in indices:
            assert (await pictures.fetch(asked)).frame.index == index
        else:
            with pytest.raises(NotFound, match=f"no picture {index}; it has 14"):
                await pictures.fetch(asked)


async def test_a_link_is_no_way_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(picture())
    shown = Shown(tmp_path)
    shown.path.symlink_to(outside)
    with pytest.raises(NotFound):
        await shown.fetch()


def event(number: int, name: str, resource: str = JOB, service: str = "frame-extractor") -> Event:
    return Event(service=service, id=resource, event=name, node="edge1", at_ns=number)


class NoStream:
    async def kept_events(self, after: int, most: int) -> tuple[int, list[Message]]:
        return after, []


def test_jobs_do_not_have_streams_forgotten() -> None:
    history = EventHistory(NoStream())
    history.add(event(1, "state", "quiet", "capture"))
    for number in range(3000):
        history.add(event(10 + number, "job-completed", f"task-20260504100000-{number:06}"))
        assert history.add(event(10 + number, "job-progress")), "it is told, though it is not kept"
    kept = history.events()
    assert kept[0].id == "quiet"
    assert not [one for one in kept if one.event == "job-progress"]
    assert len([one for one in kept if one.id == JOB]) <= KEPT_OF_A_STREAM


@pytest.mark.parametrize("streams", [("t*",), ("task-*",), (JOB,)])
def test_events_of_jobs_are_for_who_sees_everything(streams: tuple[str, ...]) -> None:
    some = Grant("some", "some", streams, frozenset(("view",)))
    told = msgspec.json.encode({"type": "event", "event": event(1, "job-failed")})
    assert visible_message(told, some) is None
    assert visible_message(told, EVERYTHING) == told
    own = msgspec.json.encode({"type": "event", "event": event(1, "state", JOB, "capture")})
    assert visible_message(own, some) == own, "a stream may be called so"
