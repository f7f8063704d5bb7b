"""What strangers send to the HTTP door: malformed requests, offers and sockets, and readers that do not read."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import resource
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from whep_rig import EncodedStream, QuietStatus

from schemas.commands import MeshStatus
from services.webrtc_gateway.auth.cookies import Cookies
from services.webrtc_gateway.auth.guard import Guard
from services.webrtc_gateway.auth.token_file import read_tokens
from services.webrtc_gateway.auth.tokens import Tokens
from services.webrtc_gateway.commands.routes import CommandRoutes
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.hls import packagers as packagers_module
from services.webrtc_gateway.hls import routes
from services.webrtc_gateway.hls.packagers import Packagers
from services.webrtc_gateway.hls.routes import HlsRoutes
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.web.http import build_app
from shared.door import sending
from shared.door.clients import Clients
from shared.door.connections import Connections
from shared.door.http_door import HttpDoor
from shared.door.sending import PiecewiseResponse
from tests.support.console_server import MadeUpMesh

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
TOKEN = b"a-token-of-the-control-room"
OFFER = (Path(__file__).parents[1] / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()
_ANSWER_SECONDS = 10.0  # also of an input that is waited for, as half a body is
_LARGE_BYTES = 8 << 20  # more than both sides' sockets hold


@dataclass
class Door:
    port: int
    gateway: WhepGateway
    packagers: Packagers
    guard: Guard


class LargeRoutes:
    """An answer as large as a segment."""

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/large", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return PiecewiseResponse(bytes(_LARGE_BYTES), "video/mp4", {})


@contextlib.asynccontextmanager
async def opened(folder: Path, *, tokens: bool = True, connections: Connections | None = None) -> AsyncIterator[Door]:
    path = folder / "tokens.yaml"
    path.write_text(f"[{{name: room, token: {TOKEN.decode()}, streams: ['*'], actions: [view, publish, control]}}]")
    path.chmod(0o600)
    guard = Guard(
        Tokens(read_tokens(path)) if tokens else Tokens(),
        Cookies(b"k"),
        sessions_per_second=0,
        commands_per_second=0,
        failures_per_second=0,
    )
    async with contextlib.AsyncExitStack() as stack:
        transport = SharedIceTransport.open(0, ["127.0.0.1"], bind="127.0.0.1")
        stack.callback(transport.close)
        gateway = WhepGateway(EncodedStream(), transport)
        stack.push_async_callback(gateway.close)
        packagers = Packagers(EncodedStream())
        stack.push_async_callback(packagers.close)
        parts = [HlsRoutes(packagers), CommandRoutes(MadeUpMesh(MeshStatus())), LargeRoutes()]
        app = build_app(gateway, QuietStatus(), parts=parts, guard=guard)
        door = HttpDoor(app, "127.0.0.1", 0, connections=connections)
        port = await door.start()
        stack.push_async_callback(door.close)
        yield Door(port, gateway, packagers, guard)


async def told(port: int, data: bytes, seconds: float = _ANSWER_SECONDS, *, half: bool = False) -> bytes:
    """The beginning of what comes back; empty: nothing in time. `half`: we close our side at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionError, TimeoutError):
            if half:
                writer.write_eof()
            async with asyncio.timeout(seconds):
                return await reader.read(4096)
        return b""
    finally:
        writer.transport.abort()


def request(
    method: bytes = b"GET", path: bytes = b"/api/status", headers: bytes = b"", body: bytes = b"", token: bytes = TOKEN
) -> bytes:
    known = b"Host: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer " + token + b"\r\n"
    return method + b" " + path + b" HTTP/1.1\r\n" + known + headers + b"\r\n" + body


def sdp(body: bytes, headers: bytes = b"") -> bytes:
    told_bytes = b"Content-Type: application/sdp\r\nContent-Length: %d\r\n" % len(body)
    return request(b"POST", b"/whep/cam0", told_bytes + headers, body)


SOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
ODD = {
    "token": (request(token=b"\xff\xfe-a-token-of-nobody"), 400),
    "origin": (request(headers=b"Origin: http://\xff\r\n"), 400),
    "protocol": (request(path=b"/api/events", headers=SOCKET + b"Sec-WebSocket-Protocol: bearer.\xff\r\n"), 400),
    "key": (request(path=b"/api/events", headers=SOCKET.replace(b"dGhl", b"dGh\xc4")), 400),
    "gzip": (sdp(b"abcd", b"Content-Encoding: gzip\r\n"), 400),
    "chunks": (request(b"POST", b"/whep/cam0", b"Content-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n",
                       b"4\r\nabcd\r\nxyz\r\n"), 400),
    "long name": (request(path=b"/console/" + b"a" * 300), 404),
    "long path": (request(path=b"/console/" + b"a/" * 3000), 404),
    "NUL": (request(path=b"/console/%00"), 404),
    "expectation": (request(headers=b"Expect: \xff\xfe\r\n"), 417),
    "expectation of nowhere": (request(path=b"/nowhere", headers=b"Expect: 100-continu\xc3\xa9\r\n"), 417),
    "expectation that is met": (sdp(b"hello", b"Expect: 100-Continue\r\n"), 100),
}  # fmt: skip


async def test_odd_bytes_are_the_strangers_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path) as door:
        found = {name: await told(door.port, data) for name, (data, _) in ODD.items()}
    statuses = {name: int(answer.split(b" ")[1]) for name, answer in found.items()}
    assert statuses == {name: status for name, (_, status) in ODD.items()}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_name_that_is_no_text_where_nobody_needs_a_token(tmp_path: Path) -> None:
    async with opened(tmp_path, tokens=False) as door:
        answer = await told(door.port, b"GET /api/status HTTP/1.1\r\nHost: \xff.x\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ")[1] == b"400"


# -- anything at all, the same each time -----------------------------------------------------------------------------


def mangled(random_: random.Random, data: bytes) -> bytes:
    """`data` with some of it changed, doubled, left out."""
    made = bytearray(data)
    for _ in range(random_.choice((1, 1, 1, 2, 8))):
        at, size = random_.randrange(len(made) + 1), random_.randint(0, 40)
        kind = random_.randrange(4)
        if kind == 0:
            made[at : at + size] = random_.randbytes(random_.randint(0, 40))
        elif kind == 1:
            made[at:at] = made[at : at + size] * random_.randint(1, 20)
        elif kind == 2:
            del made[at : at + size]
        else:
            made[at:at] = random_.choice(
                (b"\0", b"\xff", b"\r\n", b"%", b"9" * 30, b"{" * 500, b"-1", b"..", b"\xed\xb0\x80")
            )
    return bytes(made)


def a_request(random_: random.Random) -> bytes:
    method = random_.choice((b"GET", b"POST", b"HEAD", b"PATCH", b"DELETE", b"OPTIONS", b"PUT", b"TRACE", b"\xff"))
    path = random_.choice(
        (b"/api/status", b"/api/login", b"/console/app.js", b"/whep/cam0/main/0123", b"/hls/cam0/index.m3u8",
         b"/hls/cam9/main/index.m3u8?_HLS_msn=1", b"/hls/cam0/x/s1.m4s", b"/api/cmd/capture.list", b"/frame/cam0")
    )  # fmt: skip
    return mangled(random_, request(method, path, b"Cookie: framemesh-0=YQ.b\r\nRange: bytes=0-9\r\n"))


def a_command(random_: random.Random) -> bytes:
    body = mangled(random_, b'{"stream":"cam0","source":"test://","wait_s":0.1,"masks":[[0,0,1,1]]}')
    headers = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return request(
        b"POST", random_.choice((b"/api/cmd/capture.start", b"/api/cmd/hw-encode.pic-encode/edge1")), headers, body
    )


def an_offer(random_: random.Random) -> bytes:
    return sdp(mangled(random_, OFFER))


def a_socket(random_: random.Random) -> bytes:
    begun = request(
        path=b"/api/events",
        headers=SOCKET + b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    )
    frames = b"\x81\x8d\0\0\0\0" + b'{"type":"x"}\n' + b"\x89\x80\0\0\0\0" + b"\x88\x82\0\0\0\0\x03\xe8"
    if random_.random() < 0.3:
        return mangled(random_, begun) + frames
    return begun.replace(b"Connection: close\r\n", b"") + mangled(random_, frames)


KINDS: tuple[Callable[[random.Random], bytes], ...] = (a_request, a_command, an_offer, a_socket)
_AT_ONCE = 16
_STRANGE_SECONDS = 0.2  # then we go: half a request is not answered at once


async def strange_inputs(door: Door, first: int, count: int) -> list[tuple[int, bytes]]:
    """Answers with 500, with the seed that brings them back."""
    turn = asyncio.Semaphore(_AT_ONCE)
    wrong: list[tuple[int, bytes]] = []

    async def one(seed: int) -> None:
        random_ = random.Random(seed)
        async with turn:
            data = KINDS[seed % len(KINDS)](random_)
            answer = await told(door.port, data, _STRANGE_SECONDS, half=random_.random() < 0.2)
        if answer.startswith((b"HTTP/1.1 500", b"HTTP/1.0 500")):
            wrong.append((seed, answer))

    await asyncio.gather(*(one(seed) for seed in range(first, first + count)))
    for viewer in door.gateway.viewers:  # offers that were good enough in spite of it all
        viewer.close("deleted")
    return wrong


async def settled(tasks: int) -> None:
    async with asyncio.timeout(_ANSWER_SECONDS):
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.02)  # ends of connections; nothing tells of the last


@pytest.mark.parametrize(
    ("warm_up", "count", "most_kib"),
    [
        pytest.param(60, 600, None, id="short"),
        pytest.param(1_000, 4_000, 16 * 1024, id="long", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
    ],
)
async def test_strange_inputs(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    warm_up: int,
    count: int,
    most_kib: int | None,
) -> None:
    """No crash, no 500, no error in the log; as many tasks and files after as before, and as much memory."""
    monkeypatch.setattr(packagers_module, "START_SECONDS", 0.5)  # nothing plays here, and requests wait for it
    caplog.set_level(logging.ERROR)  # what is kept of the others is memory too
    async with opened(tmp_path) as door:
        tasks = len(asyncio.all_tasks())
        assert await strange_inputs(door, 0, warm_up) == []
        await settled(tasks)
        files, before_kib = len(os.listdir("/proc/self/fd")), resident_kib()
        assert await strange_inputs(door, warm_up, count) == []
        await settled(tasks)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= files
        if most_kib is not None:
            assert resident_kib() - before_kib < most_kib
        assert (await told(door.port, request())).startswith(b"HTTP/1.1 200"), "it still answers"
    bad = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert bad == []


def resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


# -- those who hold on to things, and those who let go -----------------------------------------------------------------


async def test_an_address_has_so_many_connections(tmp_path: Path) -> None:
    refused: list[bool] = []
    limited = Connections(3, on_refused=lambda: refused.append(True))
    async with opened(tmp_path, connections=limited) as door, contextlib.AsyncExitStack() as stack:
        held = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(3)]
        for _, writer in held:
            stack.callback(writer.transport.abort)
        assert (await told(door.port, request())).startswith(b"HTTP/1.1 429 ")
        assert refused == [True]
        held[0][1].write(request())
        assert (await held[0][0].read()).startswith(b"HTTP/1.1 200 "), "those who are in are served"
        async with asyncio.timeout(_ANSWER_SECONDS):
            while (await told(door.port, request())).startswith(b"HTTP/1.1 429 "):
                await asyncio.sleep(0.01)  # its end is noticed a moment later
    unlimited = Connections(1, Clients(["127.0.0.0/8"]))
    async with opened(tmp_path, connections=unlimited) as door:
        answers = await asyncio.gather(*(told(door.port, request()) for _ in range(8)))
        assert {answer.split(b" ")[1] for answer in answers} == {b"200"}, "a proxy has as many as it likes"


async def test_who_goes_away_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_REQUESTS", 4)
    waiting = request(path=b"/hls/cam0/main/index.m3u8")  # nothing plays here: 10 s
    async with opened(tmp_path) as door:
        for _ in range(8):
            assert await told(door.port, waiting, 0.1) == b""
        assert await told(door.port, waiting, 0.1) == b"", "it may wait as the first could"


# -- readers that do not read ----------------------------------------------------------------------------------------


async def test_who_takes_no_bytes_is_cut_off_and_holds_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(sending, "_LEAST_BYTES_PER_SECOND", 1 << 30)
    async with opened(tmp_path) as door:
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", door.port)) as silent:
            silent.setblocking(False)
            await loop.sock_sendall(silent, request(path=b"/large"))
            began = loop.time()
            async with asyncio.timeout(_ANSWER_SECONDS):
                await loop.sock_recv(silent, 1)
                await asyncio.sleep(0.8)  # what the test is about: nothing is read meanwhile
                size = 1
                with contextlib.suppress(ConnectionError):
                    while got := len(await loop.sock_recv(silent, 1 << 20)):
                        size += got
            assert size < _LARGE_BYTES, f"all of it came after {loop.time() - began:.1f} s"
        answer = await told(door.port, request(path=b"/large"))
        assert b"Content-Length: %d" % _LARGE_BYTES in answer
        assert await told(door.port, request(b"HEAD", b"/large")) == answer[: answer.index(b"\r\n\r\n") + 4]
