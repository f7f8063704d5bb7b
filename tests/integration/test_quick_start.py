"""What a start leaves out, and that what is left out is there when it is used."""

import asyncio
import subprocess
import sys
from pathlib import Path

from shared.bus import Bus
from tests.support.nats import NatsServer
from tests.support.pace import patience
from tests.support.peers import free_port

_IMPORTED = "import sys; from shared.quick_start import quick_start\nwith quick_start(): import {}\nprint(*sys.modules)"


def imported(module: str) -> set[str]:
    """Modules that a process has once it has imported this one."""
    code = _IMPORTED.format(module)
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split())


def test_a_command_waits_for_no_library_of_pictures() -> None:
    found = imported("services.cli.__main__")
    assert "nats" in found
    assert not found & {"numpy", "av", "aiohttp.client", "aiortc", "obstore", "PIL", "jwt"}


def test_an_encoder_has_no_http_client() -> None:
    found = imported("services.hw_encode.service")
    assert {"nats", "av", "numpy"} <= found
    assert not found & {"aiohttp.client", "aiortc", "obstore", "PIL"}


async def test_a_server_of_web_sockets_is_reached(tmp_path: Path) -> None:
    port = free_port()
    configuration = tmp_path / "nats.conf"
    configuration.write_text(f"websocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}")
    with NatsServer("-c", str(configuration)):
        bus = await Bus.connect(f"ws://127.0.0.1:{port}", name="test", timeout_seconds=5)
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await bus.subscribe("a", lambda message: heard.put_nowait(message.data))
        bus.post("a", b"over a web socket")
        async with patience(5):
            assert await heard.get() == b"over a web socket"
        await bus.drain()
