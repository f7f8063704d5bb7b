"""Bodies of requests at any door: of the length that was sent, and never long to judge."""

import asyncio
import gzip
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.door.body import BodyRefused, parse_object, read_body

pytestmark = pytest.mark.unit

NAMES = 10_000


def test_a_name_that_is_given_twice_is_found_as_fast_as_none() -> None:
    """Counted anew for each name, those of 256 KiB held the event loop for nine seconds."""
    names = [f'"{number:x}":0' for number in range(NAMES)]
    good = ("{" + ",".join(names) + "}").encode()
    began = time.thread_time()
    assert len(parse_object(good)) == NAMES
    once = time.thread_time() - began
    with pytest.raises(BodyRefused, match="given more than once"):
        parse_object(good[:-1] + b"," + names[-1].encode() + b"}")
    assert time.thread_time() - began - once < 20 * once


@pytest.mark.parametrize("encodings", [("gzip",), ("identity", "gzip"), ("gzip", "identity")])
async def test_what_is_packed_is_refused_however_it_is_said(encodings: tuple[str, ...]) -> None:
    packed = gzip.compress(b"{}")
    said: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        try:
            said.append(repr(await read_body(request, 1024)))
        except BodyRefused as refused:
            said.append(refused.fault)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        lines = ["POST / HTTP/1.1", "Host: a", "Connection: close", f"Content-Length: {len(packed)}"]
        lines += [f"Content-Encoding: {encoding}" for encoding in encodings]
        writer.write("\r\n".join([*lines, "", ""]).encode() + packed)
        await reader.read()
        writer.close()
    assert said == ["encoded"]
