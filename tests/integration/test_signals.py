"""Outputs by command: control files and a real TCP device, by name and by type, on two nodes, with who and why."""

import asyncio
import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas.events import Event
from schemas.subjects import EVENTS_STREAM, all_events, command, event
from shared.bus import Bus
from tests.support.io_signal import SignalService
from tests.support.mesh import CallFailed
from tests.support.metrics import total
from tests.support.nats import NatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

PASSWORD = "pa55-of-a-device"


class _Lines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.server.lines.append(line.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"OK " + line)


class Plc(socketserver.ThreadingTCPServer):
    """A device that takes lines, and answers OK."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Lines)
        self.lines: list[str] = []
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture(scope="module")
def plc() -> Iterator[Plc]:
    with Plc() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="module")
def service(nats: NatsServer) -> Iterator[SignalService]:
    with SignalService(nats, FRAMEMESH_IO_SIGNAL_MAX_SIGNALS="8") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(service: SignalService) -> Iterator[None]:
    """Each test, also one that is tried again, begins without outputs."""
    yield
    service.call("off-mode", active=False)
    for entry in service.call("list")["signals"]:
        service.call("stop", signal=entry["spec"]["signal"])


@pytest.fixture
def events(service: SignalService) -> Iterator[list[Event]]:
    """What is told while a test runs."""
    heard: list[Event] = []
    ready, over = threading.Event(), threading.Event()

    async def listen() -> None:
        bus = await Bus.connect(service.nats.url, name="listener", timeout_seconds=5)

        await bus.subscribe(all_events(), lambda message: heard.append(msgspec.json.decode(message.data, type=Event)))
        await bus.flush()
        ready.set()
        await asyncio.to_thread(over.wait)
        await bus.drain()

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    assert ready.wait(10)
    yield heard
    over.set()
    thread.join(10)


def refused(service: SignalService, verb: str, **request: Any) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        service.call(verb, **request)
    return failed.value


def test_every_change_is_an_event_with_who_and_why(service: SignalService, events: list[Event]) -> None:
    output = service.output("do1", type="ng", streams=["cam0"], keep="60ms")
    reply = service.call("on", signal="do1", by="inspection", why="scratch 3 mm")
    assert (reply["signals"], reply["on"]) == (["do1"], True)
    assert 0 < reply["latency_ns"] < 1_000_000_000
    assert reply["until_ns"] - reply["edge_ns"] == 60_000_000
    assert output.read_text() == "1"
    service.wait_for(lambda: sum(one.event == "changed" for one in events) == 3, what="three changes are told")
    assert output.read_text() == "0"
    start, on, off = (one for one in events if one.event == "changed")
    assert (start.detail["cause"], start.detail["why"]) == ("start", "start")
    assert on.detail["latency_ns"] == reply["latency_ns"]
    assert {**on.detail, "latency_ns": 0} == {
        "on": True,
        "type": "ng",
        "by": "inspection",
        "why": "scratch 3 mm",
        "cause": "command",
        "keep_ms": 60,
        "edge_ns": reply["edge_ns"],
        "latency_ns": 0,
    }
    assert (off.detail["on"], off.detail["cause"], off.detail["by"]) == (False, "keep", "inspection")
    service.wait_for(lambda: service.actual("do1")["changes"] == 3, what="its state is told")
    actual = service.actual("do1")
    assert (actual["state"], actual["until_ns"], actual["safe_by"]) == ("off", 0, "guard")

    async def kept(bus: Bus) -> int:
        info = await bus._client.jetstream().stream_info(
            EVENTS_STREAM, subjects_filter=event("io-signal", "do1", "changed")
        )
        return sum((info.state.subjects or {}).values())

    assert service.ask(kept) >= 3, "they are kept"


def test_a_command_about_a_picture_tells_how_long_it_took(service: SignalService) -> None:
    service.output("do1", keep="10ms")  # its figures begin with it
    captured_ns = time.time_ns() - 30_000_000
    reply = service.call("on", signal="do1", stream="cam0", sequence=7, captured_ns=captured_ns)
    assert reply["since_capture_ns"] == reply["edge_ns"] - captured_ns > 30_000_000
    assert service.call("pulse", signal="do1", stream="cam0", sequence=7)["since_capture_ns"] is None, "nobody knows"
    assert total(service.metrics_url, "framemesh_io_signal_capture_to_edge_seconds_count", signal="do1") == 1
    assert total(service.metrics_url, "framemesh_io_signal_commands_total", signal="do1", result="done") >= 2


def test_signals_of_a_stream_are_found_by_type(service: SignalService, plc: Plc) -> None:
    output = service.output("do1", type="ng", streams=["cam0", "cam1"])
    address = f"tcp://127.0.0.1:{plc.port}"
    text = {"on_text": r"{type}:{stream}:{sequence}\n", "off_text": r"clear\n", "reply": "^OK"}
    service.call("start", signal="plc", mode="tcp", address=address, type="ng", streams=["cam1"], safe="hold", **text)
    plc.lines.clear()
    reply = service.call("on", stream="cam1", type="ng", sequence=12)
    assert sorted(reply["signals"]) == ["do1", "plc"]
    assert (output.read_text(), plc.lines) == ("1", ["ng:cam1:12\n"])
    assert refused(service, "on", stream="cam1", type="ok").code == 404
    assert refused(service, "on", stream="cam1").code == 400
    assert service.call("tcp-setting", camera=1) == {"ip": "127.0.0.1", "port": plc.port, "signal": "plc"}
    assert refused(service, "tcp-setting", camera=0).code == 404
    for place in ({"camera": 1}, {"stream": "cam1"}, {"signal": "plc"}, {"host": "127.0.0.1", "port": plc.port}):
        assert service.call("tcp-send", message="hello\n", reply="hello", **place)["reply"] == "OK hello\n"
    assert plc.lines[1:] == ["hello\n"] * 4
    assert refused(service, "tcp-send", message="x", camera=1, host="127.0.0.1", port=1).code == 400
    assert refused(service, "tcp-send", message="x", host="8.8.8.8", port=53).message.count("TCP_ALLOW") == 1


def test_a_hundred_commands_at_once_keep_their_order(service: SignalService, plc: Plc) -> None:
    address = f"tcp://127.0.0.1:{plc.port}"
    service.call("start", signal="plc", mode="tcp", address=address, on_text=r"{sequence}\n", queue=128, safe="hold")
    plc.lines.clear()

    async def give(bus: Bus) -> list[bytes]:
        subject = command("io-signal", "on", "plc")
        requests = (json.dumps({"signal": "plc", "sequence": number}).encode() for number in range(100))
        return list(await asyncio.gather(*(bus.request_raw(subject, one, 10) for one in requests)))

    replies = [json.loads(one) for one in service.ask(give)]
    edges = [one["edge_ns"] for one in replies]
    assert edges == sorted(edges)
    service.wait_for(lambda: len(plc.lines) == 100, what="all lines are there")
    assert plc.lines == [f"{number}\n" for number in range(100)]


def test_a_device_that_is_away_is_seen_and_works_when_it_is_back(service: SignalService) -> None:
    with socket.socket() as reserved:  # bound, and nobody listens
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        failed = refused(service, "start", signal="away", mode="tcp", address=f"tcp://127.0.0.1:{port}")
        assert (failed.code, str(port) in failed.message) == (503, True)
        assert refused(service, "on", signal="away", by="me").code == 503
        assert service.actual("away")["state"] == "failed"
    lines: list[str] = []
    server = socketserver.ThreadingTCPServer(("127.0.0.1", port), _Lines, bind_and_activate=False)
    server.allow_reuse_address, server.daemon_threads = True, True
    server.lines = lines  # type: ignore[attr-defined]
    with server:
        server.server_bind()
        server.server_activate()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        service.wait_for(lambda: service.actual("away")["state"] == "off", what="its safe state was made up for")
        assert lines == ["OFF away\n"]
        service.call("on", signal="away")
        service.call("stop", signal="away")
        service.wait_for(lambda: lines[1:] == ["ON away\n", "OFF away\n"], what="it was cleared at its end")
        server.shutdown()


def test_what_is_wrong_is_named_and_changes_nothing(service: SignalService) -> None:
    path = service.output("do1")
    file = f"file://{path}"
    for verb, request, code, word in (
        ("start", {"signal": "x", "mode": "io", "address": "do1"}, 400, "file:///"),
        ("start", {"signal": "x", "mode": "io", "address": "file:///etc/passwd"}, 400, "FILE_ROOTS"),
        ("start", {"signal": "x", "mode": "tcp", "address": f"tcp://u:{PASSWORD}@h:1"}, 400, "address"),
        ("start", {"signal": "x", "mode": "io", "address": file}, 409, "do1"),
        ("start", {"signal": "x", "mode": "tcp", "address": "tcp://h:1", "reply": "("}, 400, "reply"),
        ("start", {"signal": "x", "mode": "tcp", "address": "tcp://h:1", "timeout": "1h"}, 400, "timeout"),
        ("start", {"signal": "x", "mode": "tcp", "address": "tcp://h:1", "keep": "soon"}, 400, "keep"),
        ("start", {"signal": "do1", "mode": "io", "address": file, "revision": 1_000_000}, 409, "revision"),
        ("on", {"signal": "do1", "keep": "1s", "keep_ms": 5}, 400, "keep"),
        ("on", {"signal": "do1", "keep": "25h"}, 400, "keep"),
        ("on", {"signal": "do1", "colour": "red"}, 400, "colour"),
        ("on", {"signal": "nobody"}, 404, "nobody"),
        ("pulse", {"signal": "do1"}, 400, "keep"),
        ("do1.on", {"signal": "do2"}, 400, "do1"),
        ("off", {"signal": "../x"}, 400, "signal"),
        ("stop", {"signal": "nobody"}, 404, "nobody"),
        ("io-send", {"text": "1", "file": "/etc/hosts"}, 400, "FILE_ROOTS"),
        ("io-send", {"text": "1", "file": f"{path}/../../secret"}, 400, "file"),
        ("io-send", {"text": "1", "file": str(path) + "9"}, 503, "no such file"),
        ("tcp-send", {"message": "x"}, 400, "signal"),
        ("tcp-send", {"message": "x", "signal": "do1"}, 503, "texts"),
    ):
        failed = refused(service, verb, **request)
        assert failed.code == code, (verb, request, failed)
        assert word in failed.message, failed
        assert PASSWORD not in failed.message
    assert path.read_text() == "0"
    assert service.actual("x")["error"]["code"] == 400, "only its node knows what is allowed there"
    service.call("io-send", text=r"a\x41\n", file=str(path))
    assert path.read_bytes() == b"aA\n"


def test_another_node_is_asked_where_its_outputs_are(service: SignalService, nats: NatsServer) -> None:
    with SignalService(nats, node="other") as other:
        path = other.file("do7")
        service.call("start", signal="do7", mode="io", address=f"file://{path}", node="other")
        service.call("on", signal="do7")
        assert path.read_text() == "1"
        missing = refused(service, "start", signal="do8", mode="io", address=f"file://{path}")
        assert (missing.code, "node missing" in missing.message) == (400, True)
        service.call("io-send", text="2", file=str(path), node="other")
        assert path.read_text() == "2"
        own = service.output("do1", node="test")
        service.call("on", signal="do1")
        assert set(service.call("off-mode", by="me")["signals"]) == {"do1", "do7"}
        assert (path.read_text(), own.read_text()) == ("0", "0")
        service.call("off-mode", active=False)
        service.call("stop", signal="do7")


def test_there_are_no_more_than_are_allowed(service: SignalService) -> None:
    names = [f"many{number}" for number in range(9)]
    failed = None
    for name in names:
        path = service.file(name)
        try:
            service.call("start", signal=name, mode="io", address=f"file://{path}", node="test")
        except CallFailed as error:
            failed = error
    assert failed is not None
    assert (failed.code, "MAX_SIGNALS" in failed.message) == (429, True)
