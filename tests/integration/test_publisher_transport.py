"""MPEG-TS and Matroska files, HLS, SRT and UDP, against ffmpeg: whole, killed, refused and slow."""

import contextlib
import functools
import http.server
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schemas.resources import OutputSpec
from services.publisher.outputs.base import OutputSettings
from services.publisher.progress import OutputProgress
from services.publisher.writer import OutputWriter
from shared.backoff import Backoff
from tests.support.pace import slowness
from tests.support.packets import NANOSECONDS, Made, clip
from tests.support.peers import Probed, free_port, probe, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

PASSPHRASE = "a-l0ng-passphrase"
STREAM_ID = "publish:s3cret-stream"
GROUP = "239.77.1.2"
SECONDS = 2.5
QUIET_US = 4_000_000  # a UDP receiver sees no end; until the first packet comes it is quiet, too
PICTURES = 75
SLOW_BYTES_PER_SECOND = 4_000  # of 23,000


class Output:
    """A writer, and what it said."""

    def __init__(self, to: str, root: Path, name: str = "out", **limits: str) -> None:
        self.said: list[OutputProgress] = []
        self.writer = OutputWriter(
            OutputSpec(stream="cam0", output=name, to=to, **limits),  # type: ignore[arg-type]
            to,
            OutputSettings(file_roots=(root,), network_timeout_seconds=1.5),
            self.said.append,
            expected_tracks=("video", "aac"),
            backoff=Backoff(jitter=lambda: 0.0),
        )
        self.writer.start()

    @property
    def states(self) -> list[str]:
        return [state for state, _ in itertools.groupby(progress.state for progress in self.said)]


class Receiver:
    """ffmpeg, keeping what arrives."""

    def __init__(self, url: str, file: Path, port: int) -> None:
        command = ["ffmpeg", "-v", "fatal", "-y", "-i", url, "-map", "0", "-c", "copy", str(file)]
        self.file, self._port = file, port
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def listens(self) -> None:
        """Wait until it does."""
        wait_until(lambda: _bound(self._port), 10.0, f"a receiver is at {self._port}")

    def probed(self) -> dict[str, Probed]:
        try:
            self._process.wait(12)
        finally:
            self.kill()
        return probe(self.file)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _bound(port: int) -> bool:
    return f":{port:04X} " in Path("/proc/net/udp").read_text()


class SlowRelay:
    """Between a sender and a receiver: passes on so many bytes per second, and loses what is more."""

    def __init__(self, target_port: int, bytes_per_second: int) -> None:
        self._target, self._rate = ("127.0.0.1", target_port), bytes_per_second
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self._caller: tuple[str, int] | None = None
        self.lost = 0
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._forward, self._answer)]
        for thread in self._threads:
            thread.start()

    def _forward(self) -> None:
        began, passed = time.monotonic(), 0
        while True:
            data, self._caller = self._front.recvfrom(2_048)
            if self._closed.is_set():
                return
            if passed + len(data) > self._rate * (time.monotonic() - began + 0.5):
                self.lost += 1
                continue
            passed += len(data)
            self._back.sendto(data, self._target)

    def _answer(self) -> None:
        while True:
            data, _ = self._back.recvfrom(2_048)
            if self._closed.is_set():
                return
            if self._caller:
                self._front.sendto(data, self._caller)

    def close(self) -> None:
        self._closed.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            for one in (self._front, self._back):
                waker.sendto(b"", one.getsockname())
        for thread in self._threads:
            thread.join(2)
        self._front.close()
        self._back.close()


def feed_live(outputs: list[Output], packets: tuple[Made, ...]) -> float:
    """Hand all packets to all outputs, in real time; the longest that this took for one, in seconds.

    On a slow machine as much slower: processes of outputs begin while packets come.
    """
    began, longest, slow = time.monotonic(), 0.0, slowness()
    for header, payload in packets:
        time.sleep(max(0.0, began + slow * (header.dts_ns - packets[0].header.dts_ns) / 1e9 - time.monotonic()))
        before = time.monotonic()
        for output in outputs:
            output.writer.feed(header, memoryview(payload))
        longest = max(longest, time.monotonic() - before)
    return longest


@dataclass
class Sent:
    """What became of everything."""

    outputs: dict[str, Output] = field(default_factory=dict)
    probed: dict[str, dict[str, Probed]] = field(default_factory=dict)
    arguments: str = ""
    lost: int = 0
    longest_feed_seconds: float = 0.0
    stop_seconds: float = 0.0


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    root = tmp_path_factory.mktemp("sent")
    packets = clip(SECONDS, width=320, height=180, tracks=("video", "aac"), bframes=2)
    srt, udp, group, slow, guarded = (free_port() for _ in range(5))
    listening = f"?mode=listener&passphrase={PASSPHRASE}"
    receivers = {
        "srt": Receiver(f"srt://127.0.0.1:{srt}{listening}", root / "srt.ts", srt),
        "udp": Receiver(f"udp://127.0.0.1:{udp}?timeout={QUIET_US}", root / "udp.ts", udp),
        "group": Receiver(f"udp://{GROUP}:{group}?localaddr=127.0.0.1&timeout={QUIET_US}", root / "group.ts", group),
        "slow": Receiver(f"srt://127.0.0.1:{slow}?mode=listener", root / "slow.ts", slow),
        "wrong": Receiver(f"srt://127.0.0.1:{guarded}{listening}", root / "wrong.ts", guarded),
    }
    for receiver in receivers.values():  # all were started at once: those over UDP do not wait for long
        receiver.listens()
    relay = SlowRelay(slow, SLOW_BYTES_PER_SECOND)
    result = Sent()
    query = f"?passphrase={PASSPHRASE}&streamid={STREAM_ID}&latency=200000"
    targets = {
        "srt": f"srt://127.0.0.1:{srt}{query}",
        "udp": f"udp://127.0.0.1:{udp}",
        "group": f"udp://{GROUP}:{group}?ttl=0&localaddr=127.0.0.1",
        "slow": f"srt://127.0.0.1:{relay.port}",
        "wrong": f"srt://127.0.0.1:{guarded}?passphrase=another-{PASSPHRASE}",
        "nobody": f"srt://127.0.0.1:{free_port()}",
        "mp4": "file://a.mp4",
        "ts": "file://a.ts",
        "mkv": "file://a.mkv",
    }
    try:
        result.outputs = {name: Output(to, root) for name, to in targets.items()}
        result.longest_feed_seconds = feed_live(list(result.outputs.values()), packets)
        pids = ["ps", "--ppid", str(os.getpid()), "-o", "args=", "ww"]
        result.arguments = subprocess.run(pids, capture_output=True, text=True).stdout
        began = time.monotonic()
        stopping = [threading.Thread(target=one.writer.stop, args=(8.0,)) for one in result.outputs.values()]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        result.stop_seconds = time.monotonic() - began
        result.lost = relay.lost
        for name in ("srt", "udp", "group"):
            result.probed[name] = receivers[name].probed()
        for name in ("mp4", "ts", "mkv"):
            result.probed[name] = probe(Path(result.outputs[name].writer.progress.file))
        yield result
    finally:
        for output in result.outputs.values():
            output.writer.stop(1.0)
        for receiver in receivers.values():
            receiver.kill()
        relay.close()


@pytest.mark.parametrize("name", ["srt", "udp", "group", "mp4", "ts", "mkv"])
def test_every_picture_arrives_in_order_and_with_its_sound(sent: Sent, name: str) -> None:
    tracks = sent.probed[name]
    assert (tracks["video"].codec, tracks["video"].decoded, tracks["audio"].codec) == ("h264", PICTURES, "aac")
    assert tracks["video"].pts != sorted(tracks["video"].pts), "it has B pictures"
    for track in tracks.values():
        assert all(b > a for a, b in itertools.pairwise(track.dts)), "decoding times grow strictly"
    assert abs(min(tracks["video"].pts) - min(tracks["audio"].pts)) < 0.040
    shown = sorted(tracks["video"].pts)
    assert max(abs(b - a - 1 / 30) for a, b in itertools.pairwise(shown)) < 0.0011
    output = sent.outputs[name]
    assert output.states == ["waiting", "connecting", "running"]
    assert set(output.writer.progress.dropped) <= {"before_first_picture"}, "the slow one has cost it nothing"


def test_a_slow_receiver_holds_up_nobody(sent: Sent) -> None:
    slow = sent.outputs["slow"].writer.progress
    print(f"slow: {slow.state}, dropped {slow.dropped}, relay lost {sent.lost}, stop {sent.stop_seconds:.1f} s")
    assert sent.lost > 20, "the relay is too slow for this rendition"
    assert slow.state in ("running", "retrying")
    assert sent.longest_feed_seconds < 0.25


def test_a_wrong_passphrase_and_nobody_there_are_told_apart(sent: Sent) -> None:
    wrong = next(progress.error for progress in sent.outputs["wrong"].said if progress.error)
    assert (wrong.code, wrong.message.partition(": ")[2]) == (503, "the peer refuses this passphrase")
    nobody = next(progress.error for progress in sent.outputs["nobody"].said if progress.error)
    assert nobody.code == 503
    assert "no answer within 1.5 s; is the receiver listening" in nobody.message
    said = repr([output.said for output in sent.outputs.values()])
    assert "services.publisher.ts_process" in sent.arguments
    for secret in (PASSPHRASE, STREAM_ID):
        assert secret not in said
        assert not any(secret in line for line in sent.arguments.splitlines() if "ts_process" in line)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """What a publisher left that was killed, and how many pictures it had been given."""
    folder = tmp_path_factory.mktemp("killed")
    fed = -1
    command = [sys.executable, "-m", "tests.support.recording_process", str(folder), str(folder / "state"), "6"]
    with subprocess.Popen([*command, ".ts", ".mkv", ".m3u8"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("fed") and (fed := int(line.split()[1])) >= 145:
                process.send_signal(signal.SIGKILL)
                break
    return folder, fed + 1


def test_killed_recordings_play_up_to_their_last_piece(killed: tuple[Path, int]) -> None:
    folder, fed = killed
    for suffix in (".ts", ".mkv"):
        video = probe(folder / f"cam0{suffix}")["video"]
        print(f"{suffix}: killed after {fed} pictures, {video.decoded} kept")
        assert (fed - video.decoded) / 30 <= 1.0 + 0.15
        assert all(b > a for a, b in itertools.pairwise(video.dts))


def test_a_playlist_goes_on_after_a_kill_and_ends_when_its_output_does(killed: tuple[Path, int]) -> None:
    folder, _ = killed
    playlist = folder / "cam0.m3u8"
    before = playlist.read_text()
    assert "#EXT-X-PLAYLIST-TYPE:EVENT\n" in before
    assert "#EXT-X-ENDLIST" not in before
    names = pieces(before)
    assert len(names) == 2
    stray = folder / f"cam0-{int(names[-1][5:11]) + 1:06d}.m4s"  # as a kill before the playlist is written leaves it
    stray.write_bytes(b"half")
    output = Output("file://cam0.m3u8", folder, name="archive-m3u8", segment="1s")
    later_ns = (1_700_000_000 + 60) * NANOSECONDS
    for header, payload in clip(2.5, tracks=("video", "aac"), bframes=2, start_ns=later_ns):
        output.writer.feed(header, memoryview(payload))
    assert output.writer.stop(5.0)
    text = playlist.read_text()
    assert "#EXT-X-ENDLIST" not in text, "it may go on"
    assert text.startswith(before), "what players have seen stays"
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert len(set(pieces(text))) == len(pieces(text)) == 5
    assert stray.name not in text
    output.writer.forget_position()
    assert playlist.read_text().endswith("#EXT-X-ENDLIST\n")
    assert "#EXT-X-PLAYLIST-TYPE:VOD\n" in playlist.read_text()
    with served(folder) as url:
        player = ["ffmpeg", "-v", "error", "-xerror", "-i", f"{url}/cam0.m3u8", "-map", "0:v"]
        player += ["-fps_mode", "passthrough", "-f", "framecrc", "-"]
        played = subprocess.run(player, capture_output=True, text=True, timeout=30)
    assert (played.returncode, played.stderr) == (0, "")
    pictures = [line for line in played.stdout.splitlines() if not line.startswith("#")]
    assert len(pictures) == 120 + 75


def test_a_live_playlist_forgets_and_another_ones_is_left_alone(tmp_path: Path) -> None:
    output = Output("file://live/{stream}.m3u8", tmp_path, segment="1s", keep_for="4s")
    for header, payload in clip(8.0, width=320, height=180, tracks=("video", "aac")):
        output.writer.feed(header, memoryview(payload))
    assert output.writer.stop(5.0)
    text = (tmp_path / "live/cam0.m3u8").read_text()
    assert "#EXT-X-MEDIA-SEQUENCE:4\n" in text
    assert "PLAYLIST-TYPE" not in text
    assert len(pieces(text)) == 4
    times = re.findall("PROGRAM-DATE-TIME:(.*)", text)
    assert times == [f"2023-11-14T22:13:{second}.000Z" for second in (24, 25, 26, 27)]
    other = Output("file://live/{stream}.m3u8", tmp_path, name="other")
    for header, payload in clip(1.0):
        other.writer.feed(header, memoryview(payload))
    wait_until(lambda: "retrying" in other.states, 5.0, "an error")
    other.writer.stop(2.0)
    error = other.writer.progress.error
    assert error is not None
    assert error.code == 409
    assert "cam0.m3u8 is there and it is none of this output; name another one" in error.message
    assert (tmp_path / "live/cam0.m3u8").read_text() == text


def pieces(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Any web server will do."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
