"""From a command to a machine's edge: 100 commands/s for a minute in each mode, and what a keep time is off.

`python -m tests.bench.io` prints a table and writes results/io.json; `--quick` takes 5 s for each and writes nothing.
The machines are real ones in a process of their own: a pipe, a TCP server, pymodbus' server by TCP and on a serial
line of pseudo-terminals, a program behind a pseudo-terminal. Measured is from before the command is published until the
machine has it, by one clock; `hand` is what the service says of itself, from the command's arrival to the edge.
Commands do not wait for one another, and must arrive all and in order. Loaded: as many busy processes as processors
run beside. A pseudo-terminal carries a byte in no time: on a wire 10 characters take 1 ms at 115200 baud.
"""

import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from schemas.subjects import PREFIX, command
from shared.bus import Bus, Message
from tests.bench.dated import keep
from tests.bench.io_peers import NO_SEQUENCE
from tests.support.io_node import IoNode

RESULTS = Path(__file__).parent / "results" / "io.json"
COMMANDS_PER_SECOND = 100
SECONDS, QUICK_SECONDS = 60.0, 5.0
PULSES_PER_SECOND = 10
KEEP_MS = 50
GOAL_P99_MS = 10.0  # command to edge of io and tcp, on an unloaded machine
GOAL_KEEP_P99_MS = 5.0
REPLY_SECONDS = 10.0
SETTLE_SECONDS = 0.5
MS = 1_000_000
TIMES = (("edge", "commands", "edge_ms"), ("hand", "commands", "hand_ms"), ("keep", "keep", "error_ms"))
TIMES += (("hand keep", "keep", "hand_error_ms"),)


class Machines:
    """The peers, and what has reached them."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.io_peers", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.addresses: dict[str, str] = json.loads(self._line())

    def notes(self) -> list[tuple[str, int, int, int]]:
        """Since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return [tuple(one) for one in json.loads(self._line())]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Bench:
    def __init__(self, bus: Bus, machines: Machines, seconds: float) -> None:
        self._bus, self._machines, self._seconds = bus, machines, seconds
        self._changes: list[tuple[str, bool, int]] = []

    async def start(self) -> None:
        await self._bus.subscribe(f"{PREFIX}.evt.io-signal.>", self._take)
        for device, address in self._machines.addresses.items():
            mode = device.partition("-")[0]
            texts = {} if mode == "modbus" else {"on_text": "ON {sequence}\\n", "off_text": "OFF\\n"}
            request = {"signal": device, "mode": mode, "address": address, "retries": 0, "queue": 1_024, **texts}
            reply = await self._ask(command("io-signal", "start"), request)
            assert reply["code"] == 200, reply

    async def edges(self, device: str) -> dict[str, Any]:
        """On and off by turns."""
        await asyncio.sleep(SETTLE_SECONDS)
        self._machines.notes()
        loop = asyncio.get_running_loop()
        count = round(self._seconds * COMMANDS_PER_SECOND)
        begin, sent, asked = loop.time(), [], []
        for number in range(count):
            await asyncio.sleep(max(0.0, begin + number / COMMANDS_PER_SECOND - loop.time()))
            fields: dict[str, Any] = {"signal": device}
            if number % 2 == 0:
                fields |= {"sequence": number, "stream": "cam0"}
            sent.append(time.time_ns())
            verb = "off" if number % 2 else "on"
            asked.append(asyncio.ensure_future(self._ask(command("io-signal", verb, device), fields)))
        replies = await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(SETTLE_SECONDS)
        came = [note for note in self._machines.notes() if note[0] == device]
        in_order = [note[1] for note in came] == [1 - number % 2 for number in range(len(came))]
        named = [note[2] for note in came if note[2] != NO_SEQUENCE]
        in_order &= named == sorted(named)
        failed = [reply for reply in replies if isinstance(reply, BaseException)]
        pairs = zip(came, sent, strict=True) if len(came) == count else ()
        edges_ms = [(note[3] - at_ns) / MS for note, at_ns in pairs]
        hand_ms = [reply["latency_ns"] / MS for reply in replies if not isinstance(reply, BaseException)]
        return {
            "commands": count,
            "lost": count - len(came),
            "failed": len(failed),
            "in_order": in_order,
            "edge_ms": spread(edges_ms),
            "hand_ms": spread(hand_ms),
        }

    async def keeps(self, device: str) -> dict[str, Any]:
        """What the machine sees of pulses, beside what they were to last."""
        self._machines.notes()
        self._changes.clear()
        loop = asyncio.get_running_loop()
        count = round(self._seconds * PULSES_PER_SECOND)
        begin = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, begin + number / PULSES_PER_SECOND - loop.time()))
            fields = {"signal": device, "keep": f"{KEEP_MS}ms"}
            await self._ask(command("io-signal", "pulse", device), fields)
        await asyncio.sleep(SETTLE_SECONDS)
        came = [note for note in self._machines.notes() if note[0] == device]
        seen = [(on[3], off[3]) for on, off in pairwise(came) if (on[1], off[1]) == (1, 0)]
        told = [one for one in self._changes if one[0] == device]
        done = [(on[2], off[2]) for on, off in pairwise(told) if (on[1], off[1]) == (True, False)]
        return {
            "pulses": count,
            "seen": len(seen),
            "error_ms": spread([abs((off - on) / MS - KEEP_MS) for on, off in seen]),
            "hand_error_ms": spread([abs((off - on) / MS - KEEP_MS) for on, off in done]),
        }

    def _take(self, message: Message) -> None:
        event = msgspec.json.decode(message.data)
        if event["event"] == "changed":
            self._changes.append((event["id"], event["detail"]["on"], event["detail"]["edge_ns"]))

    async def _ask(self, subject: str, fields: dict[str, Any]) -> Any:
        return msgspec.json.decode(await self._bus.request_raw(subject, msgspec.json.encode(fields), REPLY_SECONDS))


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the greatest; empty where there are none."""
    if not values:
        return {}
    ordered = sorted(values)
    at = {"p50": len(ordered) // 2, "p99": min(len(ordered) - 1, len(ordered) * 99 // 100), "max": len(ordered) - 1}
    return {name: round(ordered[place], 3) for name, place in at.items()}


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Every processor has something else to do."""
    count = os.cpu_count() or 1
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def measure(url: str, machines: Machines, seconds: float) -> dict[str, Any]:
    bus = await Bus.connect(url, name="bench", timeout_seconds=5)
    found: dict[str, Any] = {}
    try:
        bench = Bench(bus, machines, seconds)
        await bench.start()
        for device in machines.addresses:
            found[device] = {"commands": await bench.edges(device), "keep": await bench.keeps(device)}
    finally:
        await bus.drain()
    return found


def show(title: str, found: dict[str, Any]) -> None:
    print(f"{title}; p50 and p99 in ms\n{'mode':<12}{'lost':>5}{'order':>7}{''.join(f'{one[0]:>18}' for one in TIMES)}")
    for device, one in found.items():
        commands = one["commands"]
        spreads = [one[part][name] for _, part, name in TIMES]
        shown = "".join(f"{each.get('p50', -1):10.2f}{each.get('p99', -1):8.2f}" for each in spreads)
        print(f"{device:<12}{commands['lost']:5}{'yes' if commands['in_order'] else 'NO':>7}{shown}", flush=True)


def main() -> int:
    quick = "--quick" in sys.argv
    seconds = QUICK_SECONDS if quick else SECONDS
    report: dict[str, Any] = {
        "what": "command to a machine's edge at 100 commands/s, and what keep times of 50 ms are off, in milliseconds",
        "goals_ms": {"edge_p99_of_io_and_tcp_idle": GOAL_P99_MS, "keep_p99_idle": GOAL_KEEP_P99_MS},
        "machine": {"load_before": os.getloadavg()[0], "cpus": os.cpu_count(), "platform": platform.platform()},
        "seconds": seconds,
    }
    with tempfile.TemporaryDirectory(prefix="framemesh-io-") as folder:
        machines = Machines(Path(folder))
        try:
            with IoNode.running("io_signal", file_roots=folder) as node:
                report["idle"] = asyncio.run(measure(node.nats.url, machines, seconds))
                show("nothing else runs", report["idle"])
                with busy():
                    report["loaded"] = asyncio.run(measure(node.nats.url, machines, seconds))
                show("\nbeside busy processes", report["loaded"])
        finally:
            machines.close()
    idle = report["idle"]
    reached = all(idle[mode]["commands"]["edge_ms"].get("p99", 1e9) < GOAL_P99_MS for mode in ("io", "tcp")) and all(
        one["keep"]["error_ms"].get("p99", 1e9) < GOAL_KEEP_P99_MS for one in idle.values()
    )
    everything = [one["commands"] for part in ("idle", "loaded") for one in report[part].values()]
    whole = all(one["in_order"] and not one["lost"] and not one["failed"] for one in everything)
    print(
        f"\nall arrived, in order: {'yes' if whole else 'NO'}; goals, idle: {'reached' if reached else 'NOT reached'}"
    )
    if not quick:
        keep(RESULTS, report)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
