"""The CloudMix API's port out of its settings: keys and certificates that change, TLS, addresses, figures."""

import asyncio
import contextlib
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BadRequest, Conflict, InvalidValue, NotFound
from services.cloud_mix_proxy.edge.door import serve_edge
from services.cloud_mix_proxy.edge.settings import EdgeSettings
from shared.bus import Bus
from shared.metrics import Figures, Health
from shared.service import Context
from tests.support.cloud_mix import ROBOT, STUDIO, Api, MemoryTasks
from tests.support.nats import NatsServer
from tests.support.pace import patience
from tests.support.tls_front import certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
PAGE = b'{"PageSize": 10, "Page": 1}'


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@contextlib.asynccontextmanager
async def opened(server: NatsServer, folder: Path, **settings: Any) -> AsyncIterator[tuple[int, Context[EdgeSettings]]]:
    """The port, and the context that it is of."""
    values = {"node": "edge1", "http_port": 0, "shm_dir": folder, "data_dir": folder, **settings}
    async with AsyncExitStack() as stack:
        bus = await Bus.connect(server.url, name="edge", timeout_seconds=5)
        stack.push_async_callback(bus.drain)
        context = Context("cloud-mix-proxy", EdgeSettings(**values), bus, stack, Health(), Figures())
        stack.push_async_callback(context.cancel_tasks)
        yield await serve_edge(context, context.settings, MemoryTasks()), context


def keys_file(folder: Path, *keys: tuple[str, str]) -> Path:
    path = folder / "keys"
    written = folder / "keys.new"
    written.write_text("".join(f"name{number}: {key}:{secret}\n" for number, (key, secret) in enumerate(keys)))
    written.chmod(0o600)
    return written.rename(path)


async def status(port: int, key: tuple[str, str], ca_file: Path | None = None) -> int:
    target, headers = Api(port, None, None, None).signed("ListCloudMixTask", PAGE, key)  # type: ignore[arg-type]
    context = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join((*lines, f"Content-Length: {len(PAGE)}", "Connection: close", "", "")).encode() + PAGE)
    answer = await reader.read()
    writer.close()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["ResponseMetadata"]["Service"] == "live"
    return int(answer.split()[1])


async def test_keys_are_read_again_when_they_change(server: NatsServer, tmp_path: Path) -> None:
    path = keys_file(tmp_path, ROBOT)
    async with opened(server, tmp_path, access_keys_file=path) as (port, context):
        told: list[str] = []
        context.event = lambda _resource, name, **_: told.append(name)  # type: ignore[method-assign]
        assert (await status(port, ROBOT), await status(port, STUDIO)) == (200, 401)
        keys_file(tmp_path, STUDIO)
        async with patience(5):
            while await status(port, STUDIO) != 200:
                await asyncio.sleep(0.05)
        assert await status(port, ROBOT) == 401
        path.write_text("- no keys")
        async with patience(5):
            while "files-refused" not in told:
                await asyncio.sleep(0.05)
        assert await status(port, STUDIO) == 200, "a file that is no good changes nothing"


async def test_one_key_of_the_settings_over_tls(server: NatsServer, tmp_path: Path) -> None:
    made, key = certificate(tmp_path)
    key.chmod(0o600)
    settings = {"access_key": ROBOT[0], "secret_key": ROBOT[1], "tls_certificate_file": made, "tls_key_file": key}
    async with opened(server, tmp_path, **settings) as (port, context):
        assert context.http_url == f"https://127.0.0.1:{port}/"
        assert (await status(port, ROBOT, made), await status(port, STUDIO, made)) == (200, 401)
        samples = [sample for family in context.figures.collect() for sample in family.samples]
        answers = {
            tuple(sorted(sample.labels.values())): sample.value for sample in samples if "http_answers" in sample.name
        }
        assert answers == {("200", "ListCloudMixTask"): 1, ("401", "ListCloudMixTask"): 1}


async def test_without_keys_the_port_is_shut_to_others(server: NatsServer, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as (port, _context):
        assert await status(port, ("anybody", "here")) == 200
    async with opened(server, tmp_path, bind="0.0.0.0") as (port, _context):
        assert await status(port, ("anybody", "here")) == 401


async def test_settings_that_cannot_be(server: NatsServer, tmp_path: Path) -> None:
    rows: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"access_keys_file": tmp_path / "none"}, NotFound, "access keys file"),
        ({"access_key": "AKLTHALF"}, InvalidValue, "secret_key"),
        ({"tls_certificate_file": tmp_path / "a.pem"}, InvalidValue, "TLS_KEY_FILE"),
        ({"trusted_proxies": ("300.0.0.0/8",)}, InvalidValue, "TRUSTED_PROXIES"),
    ]
    for settings, error, text in rows:
        with pytest.raises(error, match=text):
            async with opened(server, tmp_path, **settings):
                pass
    loose = keys_file(tmp_path, ROBOT)
    loose.chmod(0o644)
    with pytest.raises(BadRequest, match="chmod"):
        async with opened(server, tmp_path, access_keys_file=loose):
            pass
    async with opened(server, tmp_path) as (port, _context):
        with pytest.raises(Conflict, match="http_port"):
            async with opened(server, tmp_path, http_port=port):
                pass
    shutil.rmtree(tmp_path, ignore_errors=True)
