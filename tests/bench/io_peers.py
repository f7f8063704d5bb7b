"""The machines of the benchmark of io-signal, in a process of their own: they note what reaches them, and when.

`python -m tests.bench.io_peers FOLDER` says in one line of JSON where they are; for each line on its standard input it
says what has come since: `[device, on, sequence, CLOCK_REALTIME in ns]`, in the order of arrival. Ends with its input.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.modbus_plc import Plc, Written
from tests.support.serial_pair import SerialPair, SerialPeer

Note = tuple[str, int, int, int]
NO_SEQUENCE = -1
_NICENESS = -15  # machines have processors of their own, and do not wait for what runs here


class Lines:
    """Notes `ON <sequence>` and `OFF`, however they are cut."""

    def __init__(self, device: str, notes: list[Note]) -> None:
        self._device, self._notes, self._begun = device, notes, b""

    def take(self, data: bytes) -> None:
        at_ns = time.time_ns()
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            word, _, sequence = line.decode().partition(" ")
            self._notes.append((self._device, int(word == "ON"), int(sequence or NO_SEQUENCE), at_ns))


async def _serve_tcp(lines: Lines) -> int:
    async def machine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4_096):
            lines.take(data)
        writer.close()

    server = await asyncio.start_server(machine, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


def _make_pipe(path: Path, take: Callable[[bytes], None]) -> None:
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # never without a writer: no end of file between two texts
    asyncio.get_running_loop().add_reader(pipe, lambda: take(os.read(pipe, 4_096)))


def _noting(device: str, notes: list[Note]) -> Callable[[Written], None]:
    return lambda one: notes.append((device, one.value, NO_SEQUENCE, one.at_ns))


async def main() -> None:
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    folder, notes = Path(sys.argv[1]), []  # type: tuple[Path, list[Note]]
    _make_pipe(folder / "io", Lines("io", notes).take)
    peer = SerialPeer(Lines("uart", notes).take)
    pair, plc, line_plc = SerialPair(), Plc(), Plc()
    plc.on_write, line_plc.on_write = _noting("modbus-tcp", notes), _noting("modbus-rtu", notes)
    await line_plc.serve_serial(pair.far, baud=115_200)
    addresses = {
        "io": f"file://{folder}/io",
        "tcp": f"tcp://127.0.0.1:{await _serve_tcp(Lines('tcp', notes))}",
        "modbus-tcp": f"tcp://127.0.0.1:{await plc.serve_tcp()}/1/coil/3",
        "modbus-rtu": f"rtu://{pair.near}/1/coil/3?baud=115200&parity=none",
        "uart": f"uart://{peer.device}?baud=115200",
    }
    print(json.dumps(addresses), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(notes), flush=True)
        notes.clear()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
