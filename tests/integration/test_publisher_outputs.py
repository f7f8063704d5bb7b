"""Outputs against the real peers: ffprobe, nginx-rtmp, ffmpeg; killed, restarted, silent and slow ones."""

import dataclasses
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from schemas.errors import InvalidValue
from schemas.resources import OutputSpec
from services.publisher.outputs.base import OutputSettings
from services.publisher.progress import OutputProgress
from services.publisher.writer import OutputWriter
from shared.backoff import Backoff
from tests.support.packets import NANOSECONDS, Made, again, clip
from tests.support.peers import (
    NGINX,
    NGINX_RTMP_MODULE,
    Probed,
    RtmpServer,
    free_port,
    probe,
    rtmp_server,
    rtsp_receiver,
    wait_until,
)

pytestmark = pytest.mark.integration

needs_nginx = pytest.mark.skipif(
    not (NGINX.exists() and NGINX_RTMP_MODULE.exists()), reason="nginx with its RTMP module is not installed"
)
SECRET_KEY = "s3cr3t-stream-key"


class Rig:
    """A writer, what it said, and a way to feed it in real time."""

    def __init__(
        self, url: str, settings: OutputSettings, *, tracks: tuple[str, ...] | None = ("video", "aac", "opus")
    ):
        self.said: list[OutputProgress] = []
        self._said = threading.Condition()
        spec = OutputSpec(stream="cam0", output="archive", to=url)
        self.keys_asked = 0
        self.writer = OutputWriter(
            spec,
            url,
            settings,
            self._hear,
            expected_tracks=tracks,  # type: ignore[arg-type]
            on_need_key=self._need_key,
            backoff=Backoff(jitter=lambda: 0.0),  # 0.8 s at first
        )
        self.writer.start()

    def _hear(self, progress: OutputProgress) -> None:
        with self._said:
            self.said.append(progress)
            self._said.notify_all()

    def _need_key(self) -> None:
        self.keys_asked += 1

    @property
    def states(self) -> list[str]:
        return [state for state, _ in itertools.groupby(progress.state for progress in self.said)]

    def wait_for(self, state: str, seconds: float = 10.0) -> OutputProgress:
        with self._said:
            assert self._said.wait_for(lambda: self.writer.progress.state == state, seconds), self.states
        return self.writer.progress

    def feed(self, packets: Iterable[Made]) -> None:
        for header, payload in packets:
            self.writer.feed(header, memoryview(payload))

    def feed_live(self, packets: Iterable[Made], until: threading.Event | None = None) -> None:
        began, first_ns = time.monotonic(), None
        for header, payload in packets:
            first_ns = header.dts_ns if first_ns is None else first_ns
            time.sleep(max(0.0, began + (header.dts_ns - first_ns) / 1e9 - time.monotonic()))
            if until is not None and until.is_set():
                return
            self.writer.feed(header, memoryview(payload))


@pytest.fixture
def settings(tmp_path: Path) -> OutputSettings:
    root = tmp_path / "root"
    root.mkdir()
    return OutputSettings(file_roots=(root,), state_dir=tmp_path / "state", network_timeout_seconds=1.5)


def endless(packets: tuple[Made, ...]) -> Iterator[Made]:
    """The clip again and again, as one producer would go on."""
    length_ns = packets[-1].header.dts_ns - packets[0].header.dts_ns + NANOSECONDS // 30
    for number in itertools.count():
        yield from again(packets, run=number + 1, start_ns=packets[0].header.pts_ns + number * length_ns)


def check_times(tracks: dict[str, Probed]) -> None:
    for track in tracks.values():
        assert all(b > a for a, b in itertools.pairwise(track.dts)), "decoding times grow strictly"
    assert abs(min(tracks["video"].pts) - min(tracks["audio"].pts)) < 0.040, "sound and pictures start together"


# -- recordings --------------------------------------------------------------------------------------------------


def test_a_recording_is_complete(settings: OutputSettings) -> None:
    rig = Rig("file://{stream}/{output}.mp4", settings)
    rig.feed(clip(3.0))
    assert rig.writer.stop(5.0)
    file = Path(rig.writer.progress.file)
    assert file == settings.file_roots[0] / "cam0/archive.mp4"
    tracks = probe(file)
    assert (tracks["video"].codec, tracks["video"].decoded, tracks["video"].keys) == ("h264", 90, 3)
    assert tracks["audio"].codec == "aac"
    assert abs(tracks["video"].seconds - tracks["audio"].seconds) < 0.1
    check_times(tracks)
    assert rig.states == ["waiting", "connecting", "running"]
    assert rig.writer.progress.bytes_written == file.stat().st_size
    position = rig.writer.resume_position()
    assert position is not None
    assert (position.run, position.index) == (1, 89)
    rig.writer.forget_position()
    assert rig.writer.resume_position() is None


def test_reordered_pictures_and_opus_only(settings: OutputSettings) -> None:
    rig = Rig("file://b.mp4", settings, tracks=("video", "opus"))
    rig.feed(clip(2.0, tracks=("video", "opus"), bframes=2))
    assert rig.writer.stop(5.0)
    tracks = probe(Path(rig.writer.progress.file))
    assert tracks["audio"].codec == "opus"
    assert tracks["video"].decoded == 60
    assert tracks["video"].pts != sorted(tracks["video"].pts), "it has B pictures"
    check_times(tracks)


@pytest.mark.parametrize("expected", [("video",), None, ("video", "aac")])
def test_a_rendition_without_sound(settings: OutputSettings, expected: tuple[str, ...] | None) -> None:
    rig = Rig("file://v.mp4", settings, tracks=expected)
    rig.feed_live(clip(1.5, tracks=("video",)))
    assert rig.writer.stop(5.0)
    tracks = probe(Path(rig.writer.progress.file))
    assert set(tracks) == {"video"}
    assert tracks["video"].decoded == 45, "nothing is lost while sound is awaited"
    assert rig.writer.progress.missing == (("aac",) if expected == ("video", "aac") else ())


def test_sound_that_begins_late_is_taken_into_a_new_file(settings: OutputSettings) -> None:
    rig = Rig("file://late.mp4", settings, tracks=("video", "aac"))
    packets = clip(4.0, tracks=("video", "aac"))
    begins_ns = packets[0].header.pts_ns + 2 * NANOSECONDS
    rig.feed_live(packet for packet in packets if packet.header.track == "video" or packet.header.pts_ns >= begins_ns)
    assert rig.writer.stop(5.0)
    first, second = (settings.file_roots[0] / name for name in ("late.mp4", "late-1.mp4"))
    assert set(probe(first)) == {"video"}
    assert set(probe(second)) == {"video", "audio"}
    assert probe(first)["video"].decoded + probe(second)["video"].decoded == 120


def test_another_picture_size_is_another_file(settings: OutputSettings) -> None:
    rig = Rig("file://size.mp4", settings)
    small = clip(1.0)
    rig.feed(small)
    rig.feed(again(clip(1.0, width=640, height=480), run=2, start_ns=small[0].header.pts_ns + NANOSECONDS))
    assert rig.writer.stop(5.0)
    files = [settings.file_roots[0] / name for name in ("size.mp4", "size-1.mp4")]
    assert [probe(file)["video"].width for file in files] == [320, 640]
    assert [probe(file)["video"].decoded for file in files] == [30, 30]
    assert rig.writer.progress.files == 2
    assert rig.writer.progress.bytes_written == sum(file.stat().st_size for file in files)


def test_a_producer_that_restarts_and_a_clock_set_back_stay_in_one_file(settings: OutputSettings) -> None:
    rig = Rig("file://restart.mp4", settings)
    packets = clip(1.0)
    start_ns = packets[0].header.pts_ns
    rig.feed(packets)
    rig.feed(again(packets, run=2, start_ns=start_ns + 5 * NANOSECONDS))
    rig.feed(again(packets, run=3, start_ns=start_ns - 500 * NANOSECONDS))
    assert rig.writer.stop(5.0)
    tracks = probe(Path(rig.writer.progress.file))
    assert tracks["video"].decoded == 90
    assert tracks["video"].seconds == pytest.approx(6.97, abs=0.05), "the gap stays, the step back does not"
    check_times(tracks)
    assert rig.writer.progress.rebased == 1
    assert rig.writer.progress.files == 1


def test_a_clock_that_finds_the_date_begins_a_new_file(settings: OutputSettings) -> None:
    rig = Rig("file://date.mp4", settings)
    packets = clip(1.0)
    rig.feed(again(packets, run=1, start_ns=0))
    rig.feed(again(packets, run=2, start_ns=packets[0].header.pts_ns))
    assert rig.writer.stop(5.0)
    assert rig.writer.progress.files == 2
    assert probe(settings.file_roots[0] / "date-1.mp4")["video"].decoded == 30


def test_a_killed_recording_plays_up_to_its_last_fragment(tmp_path: Path) -> None:
    fed = -1
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.recording_process", str(tmp_path), str(tmp_path / "state"), "20"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("fed"):
                fed = int(line.split()[1])
                if fed >= 142:  # in a group of pictures, and late in a fragment
                    process.kill()
                    break
        process.wait(5)
    tracks = probe(tmp_path / "cam0.mp4")
    check_times(tracks)
    kept = tracks["video"].decoded
    print(f"killed after {fed + 1} pictures, {kept} kept: {(fed + 1 - kept) / 30:.2f} s lost")
    # One fragment, and what was under way in queues and in the muxer's sorting of tracks.
    assert (fed + 1 - kept) / 30 <= 1.0 + 0.15
    writer = OutputWriter(
        OutputSpec(stream="cam0", output="archive", to="file://x.mp4"),
        "file://x.mp4",
        OutputSettings(file_roots=(tmp_path,), state_dir=tmp_path / "state"),
        print,
    )
    position = writer.resume_position()
    assert position is not None
    assert 0 < position.index < kept, "nothing that is not in the file is called safe"
    assert position.file == str(tmp_path / "cam0.mp4")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk_is_one_clear_error_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_900_000))
        rig = Rig("file://x.mp4", OutputSettings(file_roots=(disk,)))
        source = endless(clip(2.0, width=640, height=480, noise=True))
        stop = threading.Event()
        feeder = threading.Thread(target=rig.feed_live, args=(source, stop))
        feeder.start()
        failed = rig.wait_for("retrying")
        assert failed.error is not None
        assert failed.error.code == 507
        assert f"disk of {disk}/x.mp4" in failed.error.message
        assert "bytes free; delete old recordings" in failed.error.message
        ballast.unlink()
        for file in disk.glob("*.mp4"):
            file.unlink()
        assert rig.wait_for("running").error is None
        stop.set()
        feeder.join()
        rig.writer.stop(5.0)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    "url", ["file:///etc/x.mp4", "rtmp://", "rtmp://host/", "rtsp://ho st/x", "rtmp://host:99999/a/b", "udp://x/y", "x"]
)
def test_urls_that_can_never_work_are_refused_at_once(settings: OutputSettings, url: str) -> None:
    with pytest.raises(InvalidValue):
        Rig(url, settings)


# -- pushes ------------------------------------------------------------------------------------------------------


@needs_nginx
def test_rtmp_push(settings: OutputSettings, tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "nginx") as server:
        rig = Rig(server.url, settings)
        rig.feed_live(clip(2.0))
        assert rig.writer.stop(5.0)
        assert rig.states == ["waiting", "connecting", "running"]
        server.stop()
        [recording] = server.recordings
        tracks = probe(recording)
    assert (tracks["video"].codec, tracks["audio"].codec) == ("h264", "aac")
    assert tracks["video"].decoded == 60
    assert tracks["audio"].decoded > 90
    check_times(tracks)


@pytest.mark.parametrize("audio", ["aac", "opus"])
def test_rtsp_push(settings: OutputSettings, tmp_path: Path, audio: str) -> None:
    with rtsp_receiver(tmp_path / "out.mkv", free_port()) as url:
        rig = Rig(url, settings, tracks=("video", audio))
        rig.feed_live(clip(2.0, tracks=("video", audio)))  # type: ignore[arg-type]
        assert rig.writer.stop(5.0)
        assert rig.states == ["waiting", "connecting", "running"]
    tracks = probe(tmp_path / "out.mkv")
    assert (tracks["video"].codec, tracks["audio"].codec) == ("h264", audio)
    assert tracks["video"].decoded == 60
    assert abs(min(tracks["video"].pts) - min(tracks["audio"].pts)) < 0.040


@needs_nginx
def test_a_server_that_comes_late_and_restarts_is_found_again(settings: OutputSettings, tmp_path: Path) -> None:
    server = RtmpServer(tmp_path / "nginx")
    url = server.url.replace("key0", SECRET_KEY)
    rig = Rig(url, settings)
    stop = threading.Event()
    feeder = threading.Thread(target=rig.feed_live, args=(endless(clip(2.0)), stop))
    feeder.start()
    try:
        refused = rig.wait_for("retrying")
        assert refused.error is not None
        assert refused.error.code == 503
        assert f"rtmp://127.0.0.1:{server.port}/live/***: connection refused" in refused.error.message
        server.start()
        assert rig.wait_for("running").error is None
        wait_until(lambda: server.recorded_bytes > 20_000, 10, "the first connection is recorded")
        server.stop()
        closed = rig.wait_for("retrying")
        assert closed.error is not None
        server.start()
        recovered = rig.wait_for("running")
        wait_until(lambda: len(server.recordings) == 2 and server.recorded_bytes > 40_000, 10, "the second one, too")
        assert recovered.retries >= 2
        assert recovered.dropped["retrying"] > 0
        assert rig.keys_asked >= 3, "each attempt asks for a key picture"
    finally:
        stop.set()
        feeder.join()
        assert rig.writer.stop(5.0)
        server.stop()
    assert len(server.recordings) == 2
    assert all(probe(recording)["video"].keys for recording in server.recordings)
    assert SECRET_KEY not in repr(rig.said)


class SilentPeer:
    """Accepts connections and never reads or answers."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]

    def __enter__(self) -> "SilentPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp"])
def test_a_dead_destination_holds_up_nobody(settings: OutputSettings, scheme: str) -> None:
    with SilentPeer() as peer:
        dead = Rig(f"{scheme}://user:hunter22@127.0.0.1:{peer.port}/live/{SECRET_KEY}", settings)
        healthy = Rig("file://healthy.mp4", settings)
        longest = LongestPause()
        packets = clip(3.0)
        began = time.monotonic()
        for header, payload in packets:
            due = began + (header.dts_ns - packets[0].header.dts_ns) / 1e9
            time.sleep(max(0.0, due - time.monotonic()))
            dead.writer.feed(header, memoryview(payload))
            healthy.writer.feed(header, memoryview(payload))
        failed = next(progress for progress in dead.said if progress.state == "retrying")
        assert healthy.writer.stop(5.0)
        assert dead.writer.stop(5.0)
        pause_seconds = longest.stop()
    assert failed.error is not None
    assert failed.error.code == 503
    assert "within 1.5 s" in failed.error.message
    assert "hunter22" not in repr(dead.said)
    if scheme == "rtmp":
        assert SECRET_KEY not in repr(dead.said)
    print(f"longest pause {pause_seconds * 1e3:.1f} ms")
    assert pause_seconds < 0.25, "a network wait of 1.5 s reaches no other thread"
    assert probe(Path(healthy.writer.progress.file))["video"].decoded == 90


class LongestPause:
    """How long a thread that wants to run every 10 ms was kept from it."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(0.01):
            last, before = time.monotonic(), last
            self._seconds = max(self._seconds, last - before)

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self._seconds


class SlowProxy:
    """Between a writer and a server, passing on so many bytes per second."""

    def __init__(self, target_port: int, bytes_per_second: int) -> None:
        self._target_port, self._rate = target_port, bytes_per_second
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # so that it is soon felt
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True)]
        self._threads[0].start()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target_port))
        back = threading.Thread(target=self._pass, args=(server, client, 0), daemon=True)
        back.start()
        self._pass(client, server, self._rate)

    def _pass(self, source: socket.socket, sink: socket.socket, rate: int) -> None:
        try:
            while not self._closed.is_set() and (data := source.recv(8_192)):
                sink.sendall(data)
                if rate and self._closed.wait(len(data) / rate):
                    break
        except OSError:
            pass
        for one in (source, sink):
            one.close()

    def close(self) -> None:
        self._closed.set()
        self._listener.close()


@needs_nginx
def test_a_slow_destination_misses_whole_groups_and_goes_on(settings: OutputSettings, tmp_path: Path) -> None:
    packets = clip(4.0, width=640, height=480, noise=True, key_every=10)
    rate = sum(len(payload) for _, payload in packets) // 4
    small = dataclasses.replace(settings, queue_bytes=rate // 2, network_timeout_seconds=5.0)
    with rtmp_server(tmp_path / "nginx") as server:
        proxy = SlowProxy(server.port, rate // 3)
        rig = Rig(server.url.replace(str(server.port), str(proxy.port)), small)
        longest = LongestPause()
        rig.feed_live(packets)
        said = rig.writer.progress
        rig.writer.stop(8.0)
        proxy.close()
        assert longest.stop() < 0.25, "no other thread of this process is held up, not even by the end"
        server.stop()
        [recording] = server.recordings
        video = probe_lenient(recording)
    assert said.state == "running"
    assert said.dropped["queue_full"] > 0
    assert said.retries == 0
    gaps = [(a, b) for a, b in itertools.pairwise(video) if b[0] - a[0] > 0.05]
    assert gaps, "something was missed"
    assert all(key for _, (_, key) in gaps), "and after it came a key picture"


@needs_nginx
def test_a_destination_that_takes_nothing_any_more_is_left(settings: OutputSettings, tmp_path: Path) -> None:
    packets = clip(3.0, width=640, height=480, noise=True, key_every=10)
    with rtmp_server(tmp_path / "nginx") as server:
        proxy = SlowProxy(server.port, 300_000)
        url = server.url.replace(str(server.port), str(proxy.port))
        rig = Rig(url, dataclasses.replace(settings, network_timeout_seconds=30.0))
        rig.feed_live(packets)
        began, longest = time.monotonic(), LongestPause()
        assert not rig.writer.stop(0.5)
        assert time.monotonic() - began < 2.0
        assert longest.stop() < 0.25
        proxy.close()
    wait_until(lambda: "push_process" not in _children(), 5.0, "no process is left")


def _children() -> str:
    return subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True).stdout


def probe_lenient(path: Path) -> list[tuple[float, bool]]:
    """Times and key flags of the pictures; the last one may be cut."""
    what = ["-select_streams", "v", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]
    run = subprocess.run(
        ["ffprobe", "-v", "quiet", *what, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    rows = [line.split(",") for line in run.stdout.split()]
    return [(float(row[0]), "K" in row[1]) for row in rows]


def test_packets_lost_on_the_way_cost_pictures_up_to_the_next_key(settings: OutputSettings) -> None:
    rig = Rig("file://lossy.mp4", settings)
    packets = clip(3.0)
    rig.feed(packet for packet in packets if not (packet.header.track == "video" and packet.header.index == 40))
    assert rig.writer.stop(5.0)
    tracks = probe(Path(rig.writer.progress.file))
    assert tracks["video"].decoded == 40 + 30
    assert rig.writer.progress.dropped["waiting_for_key"] >= 19
    check_times(tracks)


def test_hevc_is_no_stream_for_flv(settings: OutputSettings) -> None:
    rig = Rig("rtmp://127.0.0.1:9/live/x", settings)
    header, payload = clip(1.0)[0]
    rig.writer.feed(
        replace(header, track="video", codec="hevc", key=True, width=64, height=64, extradata=b"x"), memoryview(payload)
    )
    failed = rig.wait_for("retrying")
    assert failed.error is not None
    assert failed.error.code == 409
    assert "hevc" in failed.error.message
    rig.writer.stop(2.0)
