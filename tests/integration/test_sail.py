"""Programs written for SAIL's encoder: every picture that was taken is in the file, whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import shared.clients.sail as sail
from schemas.resources import RenditionSpec
from shared.clients.commands import Commands
from shared.clients.mesh import BadRequest, Unavailable
from shared.clients.sail import connection
from shared.clients.sail.work import EncoderWork
from tests.support.mesh import RunningMesh
from tests.support.peers import probe, rtmp_server, wait_until

pytestmark = pytest.mark.integration

_WIDTH, _HEIGHT, _FPS = 320, 180, 25
_PARAMETERS = f"width={_WIDTH}:height={_HEIGHT}:gop=32:gop_preset=2:framerate={_FPS}:bitrate=2000"
_CODED_STEP = 12  # a number's grey differs from the next one's by more than an encoder's error
_CODES = 18
_BLACK = 16


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running, pytest.MonkeyPatch.context() as patch:
        for name in ("NATS_URL", "NODE", "SHM_DIR"):
            patch.setenv(f"FRAMEMESH_{name}", running.environment[f"FRAMEMESH_{name}"])
        yield running
        connection.close()


@pytest.fixture(autouse=True)
def leaves_no_stream(mesh: RunningMesh) -> Iterator[None]:
    """Whoever leaves a stream or a rendition fails here, and not whoever comes next."""
    yield
    client = connection.mesh()
    renditions = _asked_renditions()
    for spec in renditions:
        client.stop_rendition(spec.stream, spec.rendition)
    streams = _streams()
    for stream in streams:
        client.stop_stream(stream)
    assert (streams, renditions) == ([], [])


def _numbered(number: int, width: int = _WIDTH, height: int = _HEIGHT) -> NDArray[np.uint8]:
    """A grey picture whose left half tells the number modulo 18, the right half its multiples of 18."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2] = _BLACK + number % _CODES * _CODED_STEP
    picture[:, width // 2 :] = _BLACK + number // _CODES * _CODED_STEP
    return picture


def _numbers(path: Path) -> list[int]:
    """The numbers of a file's pictures, in the order they are shown."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="bgr24")
            low, high = (picture[40:-40, part].mean() for part in (slice(40, 120), slice(200, 280)))
            found.append(round((high - _BLACK) / _CODED_STEP) * _CODES + round((low - _BLACK) / _CODED_STEP))
    return found


def _streams() -> list[str]:
    """What there is, without the second that a command line takes."""
    return [entry.spec.stream for entry in connection.mesh().status().streams]


def _asked_renditions() -> list[RenditionSpec]:
    return [entry.spec for entry in connection.mesh().status().renditions if entry.revision]


def _work(encoder: sail.Encoder) -> EncoderWork:
    assert encoder._work is not None
    return encoder._work


def _write_all(encoder: sail.Encoder, numbers: range, pause_seconds: float = 0.0) -> list[int]:
    """Write until each was taken; returns the other results, once each, in order."""
    others: list[int] = []
    for number in numbers:
        deadline = time.monotonic() + 30
        while (result := encoder.video_write(_numbered(number))) != 0:
            assert time.monotonic() < deadline
            if result not in others:
                others.append(result)
            time.sleep(0.005)  # the API tells of no room to come
        time.sleep(pause_seconds)
    return others


# A file's name, and the encoder's arguments: enc_fmt, pix_fmt, more parameters.
_FILES = {
    "a.mp4": ("h264_bm", "I420", ""),
    "a.ts": ("hevc_bm", "NV12", ":preset=fast"),
    "a.mkv": ("h265", "I420", ":qp=30"),
    "a.flv": ("h264", "NV12", ":gop_preset=1"),
    "a.h264": ("h264_bm", "I420", ":gop_preset=5"),
    "a.mov": ("h265_bm", "I420", ":gop_preset=8"),
}


@pytest.fixture(scope="module")
def files(mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of 50 pictures from each of several encoders that worked at the same time."""
    folder = tmp_path_factory.mktemp("files")
    encoders = {}
    for name, (enc_fmt, pix_fmt, extra) in _FILES.items():
        (folder / name).write_bytes(b"what stood here before")
        parameters = _PARAMETERS.replace(":gop_preset=2", "") + extra
        encoder = sail.Encoder(str(folder / name), sail.Handle(0), enc_fmt, pix_fmt, parameters, 5, 3)
        assert encoder.is_opened()
        encoders[name] = encoder
    assert len(_streams()) == len(encoders)
    for number in range(50):
        assert [encoder.video_write(_numbered(number)) for encoder in encoders.values()] == [0] * len(encoders)
    for name in encoders:
        assert (folder / name).read_bytes() == b"what stood here before"  # until it is complete
    with ThreadPoolExecutor(len(encoders)) as threads:
        list(threads.map(sail.Encoder.release, encoders.values()))
    for encoder in encoders.values():
        encoder.release()
        assert not encoder.is_opened()
        assert encoder.video_write(_numbered(0)) == -2
    assert sorted(one.name for one in folder.iterdir()) == sorted(encoders)
    assert _streams() == []
    return folder


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "h264"),
        ("a.ts", "hevc"),
        ("a.mkv", "hevc"),
        ("a.flv", "h264"),
        ("a.h264", "h264"),
        ("a.mov", "hevc"),
    ],
)
def test_every_picture_is_in_the_file(files: Path, name: str, codec: str) -> None:
    path = files / name
    assert _numbers(path) == list(range(50))
    with av.open(str(path)) as container:
        video = container.streams.video[0].codec_context
        assert (video.name, video.width, video.height) == (codec, _WIDTH, _HEIGHT)
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert len(packets) == 50
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert keys == (list(range(50)) if "gop_preset=1" in _FILES[name][2] else [0, 32])  # gop=32
    if path.suffix != ".h264":  # which has no times
        times = sorted(float((packet.pts - packets[0].pts) * packet.time_base) for packet in packets)
        assert times == pytest.approx([number / _FPS for number in range(50)], abs=0.001)


def test_all_three_forms_and_pictures_of_every_kind(mesh: RunningMesh, tmp_path: Path) -> None:
    large = _numbered(7, 640, 480)
    (tmp_path / "in.png").write_bytes(bytes(sail.Encoder().pic_encode(".png", sail.BMImage.from_array(large))))
    assert sail.Encoder().is_opened()
    image = sail.Decoder(str(tmp_path / "in.png"), False, 0).read(sail.Handle(0))
    assert isinstance(image, sail.BMImage)
    assert (image.width(), image.height(), image.get_device_id()) == (640, 480, 0)
    assert np.array_equal(image.asmat(), large)
    assert image.data().dtype() is sail.ImgDtype.DATA_TYPE_EXT_1N_BYTE
    jpeg = sail.Encoder().pic_encode(".jpg", image.data())
    assert (jpeg.dtype, bytes(jpeg[:2])) == (np.uint8, b"\xff\xd8")
    assert sail.Encoder().pic_encode(".tiff", image).size == 0
    by_handle = sail.Encoder(str(tmp_path / "h.mp4"), sail.Handle(1), "h264_bm", "I420", _PARAMETERS)
    by_number = sail.Encoder(
        str(tmp_path / "n.mp4"), device_id=1, enc_fmt="h264_bm", pix_fmt="I420", enc_params=_PARAMETERS
    )
    by_place = sail.Encoder(f"file://{tmp_path}/p.mp4", 1, "h264_bm", "I420", _PARAMETERS, 5, 0)
    with (
        connection.mesh().publish("own", width=640, height=480) as stream,
        connection.mesh().frames("own", timeout_seconds=5) as frames,
    ):
        stream.write(large)
        leased = next(frames)
        for encoder in (by_handle, by_number, by_place):
            assert [encoder.video_write(one) for one in (image, image.data(), large, leased)] == [0, 0, 0, 0]
    for encoder in (by_handle, by_number, by_place):
        encoder.release()
    assert [_numbers(tmp_path / name) for name in ("h.mp4", "n.mp4", "p.mp4")] == [[7] * 4] * 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"enc_params": "bitrate=2000"}, "enc_params 'bitrate=2000': give width and height"),
        ({"enc_params": "width=320:height=180:gob=3"}, "enc_params 'gob': no such key"),
        ({"enc_fmt": "vp8"}, "enc_fmt 'vp8': use h264_bm"),
        ({"pix_fmt": "RGB"}, "pix_fmt 'RGB': use I420, NV12"),
        ({"cache_buffer_length": 0}, "cache_buffer_length 0: use 1 to"),
        ({"handle": -1}, "dev_id -1: use 0"),
        ({"output_path": "/no/such/folder/x.mp4"}, "its folder does not exist"),
        ({"output_path": "x.avi"}, "end it in .mp4"),
        ({"output_path": "x.h265"}, "it holds hevc only"),
        ({"output_path": "gopher://x/y"}, "Encoder: to "),
    ],
)
def test_what_cannot_be_is_not_opened(
    mesh: RunningMesh, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], told: str
) -> None:
    arguments = {"output_path": "x.mp4", "handle": 0, "enc_fmt": "h264_bm", "pix_fmt": "I420"}
    encoder = sail.Encoder(**({**arguments, "enc_params": _PARAMETERS} | changes))
    assert not encoder.is_opened()
    assert told in caplog.text
    assert [encoder.video_write(_numbered(0)) for _ in range(3)] == [-2] * 3
    assert caplog.text.count("the encoder is not open") == 1
    encoder.release()
    assert _streams() == []


def test_pictures_that_cannot_be_and_policies_that_are_none(mesh: RunningMesh, tmp_path: Path) -> None:
    encoder = sail.Encoder(str(tmp_path / "a.mp4"), 0, "h264_bm", "NV12", _PARAMETERS, 5, 4)
    assert encoder.is_opened()
    assert encoder.video_write(_numbered(0)) == -4
    encoder.release()
    assert not (tmp_path / "a.mp4").exists()  # nothing was taken
    encoder = sail.Encoder(str(tmp_path / "a.mp4"), 0, "h264_bm", "NV12", _PARAMETERS)
    if (child := os.fork()) == 0:  # which has none of the threads
        os._exit(0 if encoder.video_write(_numbered(3)) == -2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    wrong: list[Any] = [_numbered(0, 640, 480), _numbered(0).astype(np.float32), sail.BMImage(0), None, "picture"]
    assert [encoder.video_write(one) for one in wrong] == [-2] * 5
    assert encoder.video_write(_numbered(3)) == 0
    encoder.release()
    assert _numbers(tmp_path / "a.mp4") == [3]


def test_release_amid_a_call_does_not_wait_for_itself(mesh: RunningMesh, tmp_path: Path) -> None:
    encoder = sail.Encoder(str(tmp_path / "a.mp4"), 0, "h264_bm", "I420", _PARAMETERS)
    assert encoder.video_write(_numbered(3)) == 0
    work = _work(encoder)
    begun = time.monotonic()
    with work._changed:  # as a handler of a signal that comes while a picture is put there
        encoder.release()
    assert time.monotonic() - begun < 5
    assert encoder.video_write(_numbered(4)) == -2
    connection.close()  # as at exit
    assert work.ended
    assert _numbers(tmp_path / "a.mp4") == [3]


def _stopped(mesh: RunningMesh, service: str) -> Callable[[], None]:
    pid = mesh.pids()[service]
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("policy", [0, 1, 2, 3])
def test_a_full_queue(mesh: RunningMesh, tmp_path: Path, policy: int) -> None:
    path = tmp_path / "a.mp4"
    encoder = sail.Encoder(str(path), 0, "h264_bm", "I420", _PARAMETERS, 3, policy)
    assert encoder.video_write(_numbered(0)) == 0
    work = _work(encoder)
    wait_until(lambda: work._file is not None and work._file.pictures == 1, 5, "the encoder works")
    go_on, goes_on = _stopped(mesh, "hw-encode"), threading.Event()
    try:
        number = 1
        while number < 8:  # six on their way, and one that waits for them
            assert encoder.video_write(_numbered(number)) == 0
            number += 1
            wait_until(lambda: not work._intake.pictures, 5, "the thread has it")
        wait_until(lambda: work._outstanding == 6, 5, "the ring is full")
        for number in range(8, 11):
            assert encoder.video_write(_numbered(number)) == 0
        if policy == 3:
            timer = threading.Timer(0.3, lambda: (goes_on.set(), go_on()))
            timer.start()
            assert encoder.video_write(_numbered(11)) == 0
            assert goes_on.is_set()
            timer.join()
        else:
            results = [encoder.video_write(_numbered(number)) for number in (11, 12)]
            assert results == ([-1, -1] if policy == 0 else [0, 0])
    finally:
        go_on()
        encoder.release()
    expected = {0: range(11), 1: [*range(8), 10, 11, 12], 2: [*range(8), 11, 12], 3: range(12)}
    assert _numbers(path) == list(expected[policy])
    assert work._intake.replaced == {0: 0, 1: 2, 2: 3, 3: 0}[policy]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_disk_that_is_full_is_told(mesh: RunningMesh, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        encoder = sail.Encoder(str(disk / "a.ts"), 0, "h264_bm", "I420", _PARAMETERS, 5, 3)
        noise = np.random.default_rng(7)
        deadline = time.monotonic() + 20
        while (result := encoder.video_write(noise.integers(0, 255, (_HEIGHT, _WIDTH, 3), np.uint8))) == 0:
            assert time.monotonic() < deadline
        assert result == -3
        assert not encoder.is_opened()
        encoder.release()
        assert "pictures that were taken are lost" in caplog.text
        assert not (disk / "a.ts").exists()
        assert _streams() == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_push_to_rtmp(mesh: RunningMesh, tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "nginx") as server:
        encoder = sail.Encoder(server.url, sail.Handle(0), "h264_bm", "I420", _PARAMETERS, 5, 3)
        assert encoder.is_opened()
        for number in range(60):
            assert encoder.video_write(_numbered(number)) == 0
        encoder.release()
        wait_until(lambda: server.recorded_bytes > 0, 5, "nginx records")
    assert _numbers(server.recordings[0]) == list(range(60))


def test_a_push_that_fails_is_told(mesh: RunningMesh) -> None:
    encoder = sail.Encoder("rtmp://127.0.0.1:9/live/x", 0, "h264_bm", "I420", _PARAMETERS, 5, 3)
    deadline = time.monotonic() + 10
    while (result := encoder.video_write(_numbered(1))) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.04)  # as a camera does
    assert result == -3
    encoder.release()
    assert connection.mesh().status().outputs == ()


def test_kills_lose_nothing(mesh: RunningMesh, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp4"
    parameters = _PARAMETERS.replace("gop_preset=2", "gop_preset=5")  # three B-frames: it holds pictures back
    encoder = sail.Encoder(str(path), 0, "h264_bm", "I420", parameters, 5, 0)
    _write_all(encoder, range(10))
    session, work = _work(encoder)._session, _work(encoder)
    assert session is not None
    wait_until(
        lambda: not work._intake.pictures and session.consumed == len(session.outstanding) > 0, 5, "it holds pictures"
    )
    for service in ("hw-encode", "nats-server", "publisher"):
        mesh.kill(service)
        first = work._number + len(work._intake.pictures)
        assert _write_all(encoder, range(first, first + 30), 0.01) in ([], [-1])
    encoder.release()
    assert "are encoded again" in caplog.text  # what hw-encode took with it
    assert sorted(_numbers(path)) == list(range(100))
    wait_until(lambda: _streams() == [], 10, "both streams are taken away")


@pytest.mark.parametrize(
    ("start", "stops"),
    [("start_stream", ["stop_stream"]), ("start_rendition", ["stop_rendition", "stop_stream"])],
)
def test_an_answer_that_is_lost_leaves_neither_stream_nor_rendition(
    mesh: RunningMesh,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    start: str,
    stops: list[str],
) -> None:
    lost: list[str] = []

    def loses(name: str) -> None:
        ask = getattr(Commands, name)

        async def asked(*given: object, **more: object) -> object:
            changed = await ask(*given, **more)
            if name in lost:
                return changed
            lost.append(name)
            raise Unavailable(f"nobody answers {name}")

        monkeypatch.setattr(Commands, name, asked)

    for name in (start, *stops):
        loses(name)
    encoder = sail.Encoder(str(tmp_path / "a.mp4"), 0, "h264_bm", "I420", _PARAMETERS)
    assert not encoder.is_opened()
    assert f"nobody answers {start}" in caplog.text
    assert lost == [start, *stops]
    assert _streams() == []
    assert _asked_renditions() == []


def test_what_a_stream_that_is_gone_has_left_is_taken_away(mesh: RunningMesh, tmp_path: Path) -> None:
    stream, client = "sail-test-1-1", connection.mesh()
    client.start_stream(stream, "test://?size=640x360&fps=5")
    client.start_rendition(stream, "sail")
    client.start_output(stream, "sail", "rtmp://127.0.0.1:9/live/key0", rendition="sail", wait_s=0)
    client.stop_stream(stream)
    assert [spec.stream for spec in _asked_renditions()] == [stream]
    encoder = sail.Encoder(str(tmp_path / "a.mp4"), 0, "h264_bm", "I420", _PARAMETERS)
    assert stream not in [spec.stream for spec in _asked_renditions()]
    assert client.status().outputs == ()
    encoder.release()


_KILLED = """
import sys, time
import shared.clients.sail as sail
encoder = sail.Encoder(sys.argv[1], 0, "h264_bm", "I420", sys.argv[2], 5, 3)
for _ in range(40):
    assert encoder.video_write(sail.BMImage(0, 180, 320)) == 0
print("written", flush=True)
time.sleep(60)
"""


def test_what_a_killed_program_leaves_is_taken_away(mesh: RunningMesh, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "a.mp4"), _PARAMETERS],
        env=mesh.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "written\n"
        program.kill()
    assert len(_streams()) == 1
    encoder = sail.Encoder(str(tmp_path / "b.mp4"), 0, "h264_bm", "I420", _PARAMETERS)
    assert [name.split("-")[2] for name in _streams()] == [str(os.getpid())]
    encoder.release()
    [partial] = tmp_path.glob(".a.mp4.*.part")
    assert partial.stat().st_size > 0
    # hw-encode notices after capture that a stream is gone, and with it the rendition that each stream has by itself.
    wait_until(lambda: connection.mesh().status().renditions == (), 5, "no rendition stays")


def test_parameters_of_a_rendition(mesh: RunningMesh) -> None:
    client = connection.mesh()
    client.start_stream("cam0", "test://?size=640x360&fps=25")
    try:
        client.start_rendition("cam0", "box", parameters=_PARAMETERS, codec="hevc")
        [spec] = [entry.spec for entry in client.status().renditions if entry.spec.rendition == "box"]
        assert (spec.codec, spec.size, spec.fps, spec.bitrate) == ("hevc", f"{_WIDTH}x{_HEIGHT}", _FPS, "2000k")
        with pytest.raises(BadRequest, match=r"parameters\.min_qp '20': no encoder here has this"):
            client.start_rendition("cam0", "box", parameters="min_qp=20")
        with pytest.raises(BadRequest, match=r"size '640x360': parameters say '320x180'"):
            client.start_rendition("cam0", "box", parameters=_PARAMETERS, size="640x360")
        client.stop_rendition("cam0", "box")
    finally:
        client.stop_stream("cam0")


# The document's examples as they stand; only the import differs.
_HEAD = (
    "import shared.clients.sail as sail\nif __name__ == '__main__':\n    dev_id = 0\n    handle = sail.Handle(dev_id)\n"
)
_SETTINGS = """\
    out_path = "path/to/your/output/file"
    enc_fmt = "h264_bm"
    pix_fmt = "I420"
    enc_params = "width=1920:height=1080:bitrate=2000:gop=32:gop_preset=2:framerate=25"
    cache_buffer_length = 5
    abort_policy = 0
    encoder = sail.Encoder(out_path, handle, enc_fmt, pix_fmt, enc_params, cache_buffer_length, abort_policy)
"""
_EXAMPLES = {
    "is_opened": _HEAD + _SETTINGS + "    print(encoder.is_opened())\n",
    "pic_encode": _HEAD
    + """\
    img_path = "path/to/your/output/file"
    decoder = sail.Decoder(img_path,False,dev_id)
    img = decoder.read(handle)
    # img = decoder.read(handle).data() //bm_image
    encoder = sail.Encoder()
    data = encoder.pic_encode(".jpg", img)
    print(data)
""",
    "release": _HEAD + _SETTINGS + "    encoder.release()\n",
    "video_write": _HEAD
    + """\
    img_path = "your_img_path"
    decoder = sail.Decoder(img_path,False,dev_id)
    img = decoder.read(handle)
"""
    + _SETTINGS
    + """\
    ret = encoder.video_write(img)
    # ret = encoder.video_write(img.data()) # sail.bm_image
    print(ret)
""",
}

# It ends while the encoder holds pictures back: no thread can be started any more.
_HELD = f"""\
import shared.clients.sail as sail
held = sail.Encoder("held.mp4", 0, "h264_bm", "I420", "{_PARAMETERS.replace("gop_preset=2", "gop_preset=5")}", 5, 3)
assert [held.video_write(sail.BMImage(0, {_HEIGHT}, {_WIDTH})) for _ in range(30)] == [0] * 30
__import__("builtins").held = held  # not freed before the end
"""


def test_the_documents_examples(mesh: RunningMesh, tmp_path: Path) -> None:
    output = tmp_path / "path/to/your/output/file"
    output.parent.mkdir(parents=True)
    jpeg = bytes(sail.Encoder().pic_encode(".jpg", _numbered(5)))
    for image in (output, tmp_path / "your_img_path"):
        image.write_bytes(jpeg)
    examples = {**_EXAMPLES, "held": _HELD}
    for name, text in examples.items():
        (tmp_path / f"{name}.py").write_text(text)
    # One after the other in one process: most of a program's time here is its start.
    (tmp_path / "all.py").write_text(
        f"import runpy\nfor name in {list(examples)}:\n"
        "    print('#', name)\n    runpy.run_path(f'{name}.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "all.py"], cwd=tmp_path, env=mesh.environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = dict(part.split("\n", 1) for part in done.stdout.split("# ")[1:])
    printed = {name: text.strip() for name, text in printed.items()}
    assert printed["is_opened"] == "True"
    assert printed["pic_encode"].startswith("[255 216")
    assert printed["video_write"] == "0"
    assert printed["release"] == ""
    video = probe(output)["video"]  # of a program that never released
    assert (video.width, video.height, video.decoded) == (1920, 1080, 1)
    assert probe(tmp_path / "held.mp4")["video"].decoded == 30
    assert _streams() == []
