"""The blocking client: the same basics, several threads, Ctrl-C."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from shared.clients.mesh import NoEvents, NoSuchStream, NotConsumed, NotFound, Unavailable
from tests.support.client import client
from tests.support.mesh import RunningMesh

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh("--demo") as running:
        running.wait_for(lambda: running.actual("streams", "demo"), what="the demo stream")
        yield running


def test_pictures_commands_events_and_an_own_stream(mesh):
    with client(mesh) as app:
        assert app.connected
        assert "demo" in {entry.spec.stream for entry in app.streams()}
        assert app.status().services
        sequences = []
        for frame in app.frames("demo", timeout_seconds=10):
            sequences.append((frame.ref.sequence, int(frame.array.sum())))
            if len(sequences) == 10:
                break
        assert sequences == sorted(set(sequences))
        with app.events(service="capture", stream="made") as events:
            with (
                app.publish("made", width=64, height=48, pixel_format="gray", fps=10) as stream,
                app.frames("made", timeout_seconds=3) as frames,
            ):
                stream.write(np.full((48, 64), 7, np.uint8))
                assert int(next(frames).array[0, 0]) == 7
                with stream.picture() as array:
                    array[:] = 9
                assert int(next(frames).array[0, 0]) == 9
                assert frames.counts.delivered == 2
            seen = [next(events)]
            while seen[-1].event != "removed":
                seen.append(next(events))
        assert "live" in {event.state for event in seen}
        with pytest.raises(NotFound):
            app.stop_stream("made")
        with pytest.raises(NoSuchStream):
            next(app.frames("made", timeout_seconds=0.1))
        assert app.call("capture.list", stream="demo")["streams"]


def test_lossless_waits_and_drains(mesh):
    with client(mesh) as app:
        options = {"pixel_format": "gray", "delivery": "lossless", "consumer": "worker", "deadline_seconds": 5.0}
        with app.publish("work", width=64, height=48, **options) as stream:
            seen = []

            def consume() -> None:
                with app.frames("work", consumer="worker", timeout_seconds=5) as frames:
                    for frame in frames:
                        seen.append(int(frame.array[0, 0]))
                        if len(seen) == 50:
                            frame.release()
                            return

            consumer = threading.Thread(target=consume)
            consumer.start()
            for number in range(50):
                stream.write(np.full((48, 64), number, np.uint8))
            assert stream.drain(5)
            consumer.join(5)
            assert seen == list(range(50))
        options |= {"deadline_seconds": 0.2}
        with app.publish("work2", width=64, height=48, **options) as stream:
            for _ in range(6):
                stream.write(np.zeros((48, 64), np.uint8))
            with pytest.raises(NotConsumed):
                stream.write(np.zeros((48, 64), np.uint8))


def test_one_connection_serves_several_threads(mesh):
    counts = {}

    def read(number: int) -> None:
        for count, _frame in enumerate(app.frames("demo", timeout_seconds=10), 1):
            counts[number] = count
            if count == 15:
                return

    with client(mesh) as app:
        threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        assert app.call("capture.list")["streams"]
        for thread in threads:
            thread.join(15)
    assert counts == {0: 15, 1: 15, 2: 15}


def test_closing_wakes_an_iteration_that_waits_in_another_thread(mesh):
    with client(mesh) as app:
        app.start_stream("silent", "app://")
        frames = app.frames("silent")
        ended = threading.Event()

        def read() -> None:
            for _frame in frames:
                pass
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        time.sleep(0.3)
        frames.close()
        assert ended.wait(2)
        app.stop_stream("silent")


def test_waiting_for_events_has_a_limit_and_misses_none(mesh):
    with client(mesh) as app, app.events(service="app", timeout_seconds=0.1) as events:
        with pytest.raises(NoEvents, match="no event within"):
            next(events)
        app.tell("line1", "ng", score=1)
        time.sleep(0.2)  # nobody waits while it comes
        assert next(events).detail == {"score": 1}


def test_no_mesh_is_one_clear_error(mesh):
    with (
        pytest.raises(Unavailable, match="start one with `framemesh up`"),
        client(mesh, nats_url="nats://127.0.0.1:9", timeout_seconds=0.5),
    ):
        pass


_WAITING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from shared.clients.mesh import Mesh
with Mesh.connect() as mesh:
    print("waiting", flush=True)
    for frame in mesh.frames("nothing"):
        pass
"""


def test_ctrl_c_ends_an_application_that_waits(mesh):
    process = subprocess.Popen(
        [sys.executable, "-c", _WAITING], env=mesh.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"waiting\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT or b"KeyboardInterrupt" in said
    assert said.count(b"Traceback") == 1
