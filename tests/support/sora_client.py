"""The real sora_sdk in a process of its own: it ends its process where a server's message lacks something.

Run as a program it is that process: a JSON object as its first line of input, as it holds a token; a JSON object a line
as its output; messages to send as further lines of input, and its end to disconnect.
"""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from shared.media import timecode
from tests.support.pace import Patience

WIDTH, HEIGHT = 384, 208  # the SDK's encoders cut sizes to multiples of 16
FPS = 25
_RATE_HZ, _TONE_HZ, _TONE_AMPLITUDE = 48_000, 440, 8000
_CERTIFICATES = ("ca_cert", "client_cert", "client_key")
Event = dict[str, Any]
_saying = threading.Lock()


class SoraClient:
    """Use as a context manager; it is disconnected at the end, and killed where that takes long."""

    def __init__(
        self, url: str, role: str, channel: str, *, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any
    ) -> None:
        """`options` are those of `Sora.create_connection`; `size` of pictures that are sent: width, height."""
        self._request = json.dumps({"url": url, "role": role, "channel": channel, "size": size, "options": options})
        self.events: list[Event] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.sora_client"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._request + "\n")
        self._process.stdin.flush()
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        try:
            self.end()
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def end(self) -> None:
        """Have it disconnect."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()

    def send(self, label: str, data: bytes) -> None:
        """Send a message over a data channel."""
        self._ask(label=label, data=base64.b64encode(data).decode())

    def ask_stats(self) -> None:
        """Have it tell its own statistics, as a `stats` event."""
        self._ask(stats=True)

    def sound(self, loud: bool) -> None:
        """Have its tone sound, as it does from the beginning, or be silent; told by a `sounds` event."""
        self._ask(loud=loud)

    def _ask(self, **what: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """As a machine that loses its power."""
        assert self._process is not None
        self._process.kill()

    def all(self, kind: str) -> list[Event]:
        return [event for event in list(self.events) if event["event"] == kind]

    def wait(self, kind: str, matches: Callable[[Event], bool] = lambda event: True, seconds: float = 10.0) -> Event:
        """The first event of a kind that `matches`, once it is there."""
        patience = Patience(seconds)
        while True:
            for event in self.all(kind):
                if matches(event):
                    return event
            assert not patience.is_over(), f"no {kind} in {seconds} s; there were {self.events[-12:]}"
            time.sleep(0.02)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self.events.append(json.loads(line))
        self.events.append({"event": "exit", "code": self._process.wait()})


def _say(**event: Any) -> None:
    with _saying:  # the SDK calls from threads of its own
        print(json.dumps(event), flush=True)


def _publish(video: Any, audio: Any, size: tuple[int, int], is_loud: threading.Event) -> None:
    """Pictures with the time in them, and a tone."""
    samples = _RATE_HZ // FPS
    wave = np.sin(2 * np.pi * _TONE_HZ * np.arange(samples) / _RATE_HZ)
    tone = (wave * _TONE_AMPLITUDE).astype(np.int16).reshape(-1, 1)
    due, was_loud = time.monotonic(), is_loud.is_set()
    while True:
        if was_loud != is_loud.is_set():
            was_loud = is_loud.is_set()
            _say(event="sounds", loud=was_loud, at_s=time.monotonic())
        picture = np.full((size[1], size[0], 3), 90, np.uint8)
        timecode.burn(picture, time.time_ns() // 1_000_000, "bgr24")
        video.on_captured(picture)
        audio.on_data(tone if was_loud else np.zeros_like(tone))
        due += 1 / FPS
        time.sleep(max(0.0, due - time.monotonic()))


def _watch(sdk: Any, track: Any, sinks: list[Any]) -> None:
    """Tell of every fifth picture and of each of another size, and of every fiftieth piece of sound."""
    stream, counts, sizes = track.stream_id, {"picture": 0, "sound": 0}, [()]
    _say(event="track", kind=track.kind, stream=stream)

    def picture(frame: Any) -> None:
        counts["picture"] += 1
        data, now_ms = frame.data(), time.time_ns() // 1_000_000
        if counts["picture"] % 5 == 1 or data.shape != sizes[0]:
            at_s, sizes[0] = time.monotonic(), data.shape
            # Green is nearest to luma, and nothing but black and white is looked at.
            burnt_ms = timecode.read(np.ascontiguousarray(data[:, :, 1]), now_ms)
            late_ms = None if burnt_ms is None else now_ms - burnt_ms
            _say(
                event="picture",
                stream=stream,
                number=counts["picture"],
                shape=data.shape,
                late_ms=late_ms,
                at_s=at_s,
            )

    def sound(frame: Any) -> None:
        counts["sound"] += 1
        if counts["sound"] % 50 == 1:
            _say(event="sound", stream=stream, level=float(np.abs(frame.data()).mean()))

    sink = sdk.SoraVideoSink(track) if track.kind == "video" else sdk.SoraAudioStreamSink(track, _RATE_HZ, 1)
    sink.on_frame = picture if track.kind == "video" else sound
    sinks.append(sink)


def _obey(connection: Any, is_loud: threading.Event) -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "stats" in asked:
            _say(event="stats", reports=json.loads(connection.get_stats()))
        elif "loud" in asked:
            (is_loud.set if asked["loud"] else is_loud.clear)()
        else:
            sent = connection.send_data_channel(asked["label"], base64.b64decode(asked["data"]))
            _say(event="sent", label=asked["label"], sent=sent)
    connection.disconnect()


def _has_heard(label: str, data: bytes) -> None:
    _say(event="message", label=label, data=base64.b64encode(data).decode())


def main() -> None:
    import sora_sdk as sdk  # not where the class above is used: it has threads of its own

    request = json.loads(sys.stdin.readline())
    sora, sinks, ended = sdk.Sora(), [], threading.Event()
    sources: dict[str, Any] = {}
    is_loud = threading.Event()
    is_loud.set()
    if request["role"] not in ("recvonly", "watcher"):
        sources = {"video_source": sora.create_video_source(), "audio_source": sora.create_audio_source(1, _RATE_HZ)}
        threading.Thread(target=_publish, args=(*sources.values(), request["size"], is_loud), daemon=True).start()
    # What cannot be in JSON.
    certificates = {name: text.encode() for name, text in request["options"].items() if name in _CERTIFICATES}
    connection = sora.create_connection(
        [request["url"]], request["role"], request["channel"], **sources, **{**request["options"], **certificates}
    )

    def disconnected(code: Any, message: str) -> None:
        _say(event="disconnect", code=str(code).rpartition(".")[2], message=message)
        ended.set()

    connection.on_disconnect = disconnected
    connection.on_ws_close = lambda code, reason: _say(event="ws_close", code=code, reason=reason)
    connection.on_notify = lambda text: _say(event="notify", message=json.loads(text), at_s=time.monotonic())
    connection.on_set_offer = lambda text: _say(event="offer", message=json.loads(text))
    connection.on_push = lambda text: _say(event="push", message=json.loads(text))
    connection.on_switched = lambda text: _say(event="switched", message=json.loads(text))
    connection.on_data_channel = lambda label: _say(event="data_channel", label=label)
    connection.on_message = _has_heard
    connection.on_signaling_message = lambda kind, way, text: _say(
        event="signaling", kind=str(kind).rpartition(".")[2], way=str(way).rpartition(".")[2]
    )
    connection.on_track = lambda track: _watch(sdk, track, sinks)
    connection.connect()
    threading.Thread(target=_obey, args=(connection, is_loud), daemon=True).start()
    ended.wait()
    time.sleep(0.1)  # what is told in the same moment
    os._exit(0)  # its threads would go on while the interpreter goes


if __name__ == "__main__":
    main()
