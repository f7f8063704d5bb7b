"""A PLC that goes in the middle of a pulse and comes back: through the whole service, on one connection to it."""

import asyncio
from typing import Any

import pytest

from tests.support.io_signal import SignalService
from tests.support.mesh import CallFailed
from tests.support.modbus_plc import tcp_plc
from tests.support.nats import NatsServer
from tests.support.serial_pair import serial_peer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


async def test_devices_that_go_and_come_back() -> None:
    with NatsServer() as nats, SignalService(nats) as service:

        async def call(verb: str, **request: Any) -> Any:
            return await asyncio.to_thread(service.call, verb, **request)

        async with tcp_plc() as (plc, port):
            where = f"tcp://127.0.0.1:{port}/1"
            await call("start", signal="do1", mode="modbus", address=f"{where}/coil/3")
            await call("start", signal="do2", mode="modbus", address=f"{where}/register/5", on_value=9)
            await plc.has(("coil", 3, 0), ("register", 5, 0))
            assert plc.connections == 1
            await call("pulse", signal="do1", keep="200ms")
            await plc.has(("coil", 3, 1))

            await plc.vanish()
            with pytest.raises(CallFailed) as refused:
                await call("on", signal="do2")
            assert refused.value.code == 503
            assert f"127.0.0.1:{port}" in refused.value.message
            await asyncio.sleep(0.5)  # the pulse is over, and nobody was there to hear it
            await plc.serve_tcp(port)
            await plc.has(("coil", 3, 0), seconds=10)
            await call("on", signal="do2")
            await plc.has(("register", 5, 9))
            await call("stop", signal="do2")
            await plc.has(("register", 5, 0))

        with serial_peer() as peer:
            peer.answers[b"OFF do3\n"] = b"OK\r\n"
            await call(
                "start", signal="do3", mode="uart", address=f"uart://{peer.device}?baud=115200", reply="^OK", retries=0
            )
            peer.answers[b"ON do3\n"] = b"OK\r\n"
            await call("on", signal="do3")
            peer.answers[b"ON do3\n"] = b"BUSY\r\n"
            with pytest.raises(CallFailed, match="500ms"):
                await call("on", signal="do3")
