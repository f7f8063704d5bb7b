"""Pictures in a real S3 server, and videos out of it: whole, under their own names, whatever the store's mood."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from schemas.extraction import SubmitJob
from schemas.sampling import PictureOptions, Sampling
from services.frame_extractor.engine import Limits
from services.frame_extractor.extraction import Extraction, ExtractionFailed
from services.frame_extractor.storage import Places, StorageError, StorageSettings
from shared.netguard import open_input
from tests.support.media_server import clip, media_server
from tests.support.object_store import MoodyFront, S3Server, free_port, moody_front, s3_server

pytestmark = pytest.mark.integration

SECRET = "hush-hush-secret"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        running.bucket("pictures")
        yield running


@pytest.fixture
def front(server: S3Server) -> Iterator[MoodyFront]:
    with moody_front(server.port) as running:
        yield running


def places(tmp_path: Path, endpoint: str, **settings: object) -> Places:
    chosen = {
        "s3_endpoint": endpoint,
        "s3_access_key": "somebody",
        "s3_secret_key": SECRET,
        "data_dir": tmp_path,
        "storage_seconds": 3.0,
        **settings,
    }
    return Places(StorageSettings(**chosen), {})  # type: ignore[arg-type]


def failure(work: object, *arguments: object) -> StorageError:
    with pytest.raises(StorageError) as caught:
        work(*arguments)  # type: ignore[operator]
    assert SECRET not in str(caught.value)
    assert "Signature" not in str(caught.value)
    return caught.value


def test_pictures_are_written_overwritten_linked_to_and_read(tmp_path: Path, server: S3Server) -> None:
    store = places(tmp_path, server.url)
    writer = store.writer("s3://pictures/a job/é{index}#?%20[1]+&.{autoext}", "png")
    writer.write(7, b"first")
    writer.write(7, b"second")
    writer.settle()
    assert writer.path(7) == "s3://pictures/a job/é007#?%20[1]+&.png"
    key = "a job/é007#?%20[1]+&.png"
    assert key in server.keys("pictures")
    assert server.body("pictures", key) == b"second"
    assert server.client.head_object(Bucket="pictures", Key=key)["ContentType"] == "image/png"
    assert (writer.written, writer.written_bytes, writer.retries) == (2, 11, 0)
    link = store.link(writer.path(7), 60)
    assert link is not None
    assert SECRET not in link
    assert urllib.request.urlopen(link, timeout=5).read() == b"second"


def test_of_several_marks_one_stays(tmp_path: Path, server: S3Server) -> None:
    stores = [places(tmp_path, server.url) for _ in range(6)]
    with ThreadPoolExecutor(len(stores)) as pool:
        found = list(pool.map(lambda n: stores[n].claim("s3://pictures/clip/.video", b"mark%d" % n), range(6)))
    assert len(set(found)) == 1
    assert server.body("pictures", "clip/.video") == found[0]
    assert "no such bucket" in failure(stores[0].claim, "s3://nowhere/clip/.video", b"mark").message


def test_tos_is_the_same_with_an_endpoint(tmp_path: Path, server: S3Server) -> None:
    environ = {"TOS_ENDPOINT": server.url, "TOS_REGION": "cn-beijing", "ACCESS_KEY": "a", "SECRET_KEY": SECRET}
    store = Places(StorageSettings(data_dir=tmp_path), environ)
    writer = store.writer("tos://pictures/tos/frame_{index}.{autoext}")
    writer.write(0, b"picture")
    assert server.body("pictures", "tos/frame_000.jpg") == b"picture"
    assert not (tmp_path / "tos").exists()


def test_a_key_of_1024_bytes(tmp_path: Path, server: S3Server) -> None:
    store = places(tmp_path, server.url)
    name = "n" * (1024 - len("deep//000000000.jpg"))
    writer = store.writer(f"s3://pictures/deep/{name}/{{index:09d}}.jpg")
    writer.write(3, b"x")
    assert max(map(len, server.keys("pictures"))) == 1024


def test_who_refuses_us_is_said_and_not_asked_again(tmp_path: Path, server: S3Server) -> None:
    store = places(tmp_path, server.url)
    began = time.monotonic()
    missing = failure(store.writer("s3://no-such-bucket/{index}.jpg").write, 0, b"x")
    with server.checking_credentials():
        refused = failure(store.writer("s3://pictures/{index}.jpg").write, 0, b"x")
        unread = failure(store.open_video, "s3://pictures/clip.mp4")
    assert time.monotonic() - began < 2.0  # three seconds would be as long as it tries
    assert missing.kind == refused.kind == unread.kind == "storage"
    assert "s3://no-such-bucket/000.jpg: there is no such bucket" in missing.message
    assert "refuses the credentials" in refused.message
    assert "refuses the credentials" in unread.message
    assert [error.may_pass for error in (missing, refused, unread)] == [False] * 3
    absent = failure(store.open_video, "s3://pictures/not-there.mp4")
    assert (absent.kind, absent.may_pass) == ("download", False)


def test_nobody_is_asked_without_credentials(tmp_path: Path) -> None:
    store = Places(StorageSettings(data_dir=tmp_path), {})
    began = time.monotonic()
    for work in (store.open_video, store.check_template, lambda url: store.writer(url).write(0, b"x")):
        error = failure(work, "s3://pictures/{index}.jpg")
        assert error.kind == "storage"
        assert "AWS_ACCESS_KEY_ID" in error.message
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("status", [503, 429, 500])
def test_throttling_passes(tmp_path: Path, front: MoodyFront, server: S3Server, status: int) -> None:
    front.failures, front.status = 2, status
    writer = places(tmp_path, front.url).writer(f"s3://pictures/throttled/{status}-{{index}}.jpg")
    writer.write(1, b"after all")
    assert writer.retries == 2
    assert server.body("pictures", f"throttled/{status}-001.jpg") == b"after all"


def test_a_connection_that_breaks_in_a_picture(tmp_path: Path, front: MoodyFront, server: S3Server) -> None:
    front.resets = 3
    store = places(tmp_path, front.url)
    picture = bytes(range(256)) * 4096
    with store.uploads(store.writer("s3://pictures/reset/{index}.jpg")) as uploads:
        for index in range(6):
            uploads.put(index, picture)
    assert uploads.writer.retries == 3
    kept = [key for key in server.keys("pictures") if key.startswith("reset/")]
    assert kept == [f"reset/00{index}.jpg" for index in range(6)]  # none under another name, none in halves
    assert all(server.body("pictures", key) == picture for key in kept)
    figures = store.counts.figures
    assert (figures.written, figures.written_bytes, figures.retries, figures.dropped) == (6, 6 << 20, 3, 0)
    assert figures.write_seconds > 0


def test_throttling_that_does_not_pass(tmp_path: Path, front: MoodyFront) -> None:
    front.failures = 10**6
    writer = places(tmp_path, front.url, storage_seconds=0.5).writer("s3://pictures/{index}.jpg")
    began = time.monotonic()
    error = failure(writer.write, 1, b"x")
    assert time.monotonic() - began < 3.0
    assert (error.kind, error.may_pass) == ("storage", True)
    assert "SlowDown" in error.message


def test_a_stopped_job_tries_no_longer(tmp_path: Path, front: MoodyFront) -> None:
    front.failures = 10**6
    stop = threading.Event()
    writer = places(tmp_path, front.url, storage_seconds=60.0).writer("s3://pictures/{index}.jpg", stop=stop)
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    assert failure(writer.write, 1, b"x").kind == "storage"
    assert time.monotonic() - began < 3.0


def test_an_endpoint_that_goes_and_comes_back(tmp_path: Path, server: S3Server) -> None:
    port = free_port()
    store = places(tmp_path, f"http://127.0.0.1:{port}", storage_seconds=20.0)
    writer = store.writer("s3://pictures/back/{index}.jpg")
    with moody_front(server.port, port):
        writer.write(0, b"before")
    hasty = places(tmp_path, f"http://127.0.0.1:{port}", storage_seconds=0.2).writer("s3://b-b/{index}.jpg")
    down = failure(hasty.write, 0, b"x")
    assert down.may_pass
    assert f"no answer from http://127.0.0.1:{port}" in down.message
    written = threading.Thread(target=writer.write, args=(1, b"after"))
    written.start()
    time.sleep(0.5)
    with moody_front(server.port, port):
        written.join(20)
        assert not written.is_alive()
    assert writer.retries > 0
    assert server.body("pictures", "back/001.jpg") == b"after"


def test_several_at_once_bounded_and_decoding_waits(tmp_path: Path, front: MoodyFront, server: S3Server) -> None:
    front.delay_seconds = 0.05
    store = places(tmp_path, front.url, upload_threads=4, upload_bytes=1 << 20)
    told: list[int] = []
    picture = bytes(300 << 10)  # three of them fit
    with store.uploads(store.writer("s3://pictures/many/{index}.jpg"), told.append) as uploads:
        decoders = [
            threading.Thread(target=lambda part: [uploads.put(n, picture) for n in part], args=(range(first, 24, 2),))
            for first in (0, 1)
        ]
        for decoder in decoders:
            decoder.start()
        for decoder in decoders:
            decoder.join(20)
    assert sorted(told) == list(range(24))
    assert len([key for key in server.keys("pictures") if key.startswith("many/")]) == 24
    assert 2 <= front.most_busy <= 3
    assert uploads.waits > 0
    assert uploads.waited_seconds > 0
    assert uploads.dropped == 0


def test_one_failure_ends_a_job_and_drops_what_waits(tmp_path: Path, server: S3Server) -> None:
    store = places(tmp_path, server.url)
    uploads = store.uploads(store.writer("s3://not-our-bucket/{index}.jpg"))

    def put_all() -> None:
        with uploads:
            for index in range(10_000):
                uploads.put(index, b"x" * 100)

    assert "no such bucket" in failure(put_all).message
    assert uploads.dropped > 0
    assert failure(uploads.put, 0, b"x").kind == "storage"


def test_a_video_is_fetched_or_read_in_ranges(tmp_path: Path, server: S3Server) -> None:
    long = clip("mp4", 300)
    server.client.put_object(Bucket="pictures", Key="in/clip é.mp4", Body=clip("mp4"))
    server.client.put_object(Bucket="pictures", Key="in/long.mp4", Body=long)
    store = places(tmp_path, server.url)
    with store.open_video("s3://pictures/in/clip é.mp4") as video:
        assert video.fetched
        assert video.path is not None
        assert video.path.read_bytes() == clip("mp4")
        assert video.url.shown == "s3://pictures/in/clip é.mp4"
        with open_input(video.url) as container:
            assert sum(1 for _ in container.decode(video=0)) == 30
    assert not video.path.exists()
    with store.open_video("s3://pictures/in/long.mp4", sparse=True) as video:
        assert (video.fetched, video.path, video.size_bytes) == (False, None, len(long))
        assert "Signature" not in repr(video.url)
        with open_input(video.url) as container:
            assert sum(1 for _ in container.decode(video=0)) == 300
    assert store.spool.used_bytes() == 0


def test_a_playlist_in_a_store_leads_nowhere(tmp_path: Path, server: S3Server) -> None:
    server.client.put_object(Bucket="pictures", Key="evil.m3u8", Body=b"#EXTM3U\n#EXTINF:1,\nhttp://10.0.0.1/x.ts\n")
    error = failure(places(tmp_path, server.url).open_video, "s3://pictures/evil.m3u8")
    assert (error.kind, error.may_pass) == ("format", False)


def test_a_link_ends(tmp_path: Path, server: S3Server) -> None:
    store = places(tmp_path, server.url)
    store.writer("s3://pictures/short/{index}.jpg").write(0, b"x")
    link = store.link("s3://pictures/short/000.jpg", 30 * 86_400)
    assert link is not None
    assert "X-Amz-Expires=604800" in link  # a week is the longest there is


def test_a_job_from_http_to_a_store(tmp_path: Path, server: S3Server) -> None:
    request = SubmitJob(
        video="",
        to="s3://pictures/job/{index:04d}.{autoext}",
        sampling=Sampling(mode="fps", fps=10),
        pictures=PictureOptions(format="png"),
    )
    store = places(tmp_path, server.url, allow_private=True)
    with media_server() as web:
        web.files["/clip.mp4"] = clip("mp4")
        asked = msgspec.structs.replace(request, video=web.url("/clip.mp4", userinfo=f"me:{SECRET}@"))
        with Extraction(asked, store, Limits(), threads=2) as extraction:
            facts, frames = extraction.run()
        missing = msgspec.structs.replace(request, video=web.url("/absent.mp4"))
        with pytest.raises(ExtractionFailed) as caught, Extraction(missing, store, Limits(), threads=1):
            pass
    assert (facts.width, facts.height, len(frames), extraction.done) == (384, 64, 10, 10)
    assert [frame.path for frame in frames] == [f"s3://pictures/job/{index:04d}.png" for index in range(10)]
    for frame in frames:
        assert server.body("pictures", frame.path.removeprefix("s3://pictures/")).startswith(b"\x89PNG")
    assert store.spool.used_bytes() == 0
    assert (caught.value.kind, caught.value.may_pass) == ("download", False)
