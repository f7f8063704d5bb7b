"""A whole mesh under fire: any command's body on its bus, any request at its three doors, any WebSocket frame.

    python -m tests.fuzz.live [--seconds N] [--seed N]

While they come, somebody else asks each service something ordinary, and must be answered. No 500, no service that ends,
no error in the log. Exits with 1 where that is not so.
"""

import argparse
import asyncio
import contextlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from schemas.channels import CHANNELS, RUNNING_SERVICES
from schemas.errors import MeshError
from schemas.subjects import PREFIX
from shared.bus import Bus
from tests.fuzz.command_entries import commands, requests
from tests.fuzz.doors import DOORS, a_request, a_socket
from tests.fuzz.mutators import mutate_json
from tests.support.mesh import RunningMesh
from tests.support.peers import free_port

_SECONDS: Final = 120.0
_AT_ONCE: Final = 12  # of each kind: others are to be answered meanwhile, which is not about load
_REPLY_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 0.5  # of a door; half a request is waited for by it, and not by us
_ORDINARY_SECONDS: Final = 15.0  # on a machine that others use; a loop that hangs answers never
_BETWEEN_SECONDS: Final = 0.3
_CLEAN_EVERY: Final = 400  # commands: what they began is ended, or the mesh would be measured and not its readers
_ORDINARY: Final = tuple(f"{name}.{'sessions' if name == 'webrtc-gateway' else 'list'}" for name in RUNNING_SERVICES)
_NEVER: Final = ("fleet.",)  # they end services, which is what they are for
_WORST: Final = re.compile(r"Traceback|\bERROR\b|\bCRITICAL\b|command \S+ failed")
_LOG_CHARACTERS: Final = 6_000
_UPGRADED: Final = b"HTTP/1.1 101"


_THERE: Final = {"stream": "cam0", "rendition": "main", "node": "test", "signal": "do1"}
_RESOURCES: Final = (
    ("capture.start", {"stream": "cam0", "source": "test://?size=384x256&fps=5"}),
    ("hw-encode.start", {"stream": "cam0", "rendition": "main"}),
    ("io-signal.start", {"signal": "do1", "mode": "tcp", "address": "tcp://127.0.0.1:9"}),
)


@dataclass
class Fire:
    """What came of it."""

    inputs: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    """By kind and code; `silence` where nothing came in time."""
    wrong: list[str] = field(default_factory=list)
    slowest_ordinary_s: float = 0.0
    ordinary: int = 0

    def report(self) -> dict[str, Any]:
        return {
            "inputs": dict(self.inputs),
            "answers": dict(sorted(self.answers.items())),
            "ordinary questions": self.ordinary,
            "slowest ordinary answer s": round(self.slowest_ordinary_s, 2),
            "findings": self.wrong,
        }


def addressed(name: str, dice: Random) -> str:
    """A command's subject with ids for what varies in it."""
    return re.sub(r"\{([a-z]+)\}", lambda match: dice.choice((*[_THERE.get(match[1], "cam0")] * 4, "nobody")), name)


async def fire(mesh: RunningMesh, ports: dict[str, int], seconds: float, seed: int, most: int = 1 << 62) -> Fire:
    """For so long, or until `most` inputs of each kind are spent."""
    found = Fire()
    until_s = time.monotonic() + seconds
    url = mesh.environment["FRAMEMESH_NATS_URL"]
    hostile = await Bus.connect(url, name="fuzz", timeout_seconds=_ORDINARY_SECONDS)
    ordinary = await Bus.connect(url, name="ordinary", timeout_seconds=_ORDINARY_SECONDS)
    seeds = [one for one in commands() if not one.startswith(tuple(name.encode() for name in _NEVER))]

    async def a_command(dice: Random) -> None:
        seed_ = dice.choice(seeds)
        name, _, body = seed_.partition(b"\n")
        same = [one.partition(b"\n")[2] for one in seeds if one.startswith(name + b"\n")]
        for _ in range(dice.choice((0, 1, 1, 2, 4))):
            body = mutate_json(dice, body, same)
        await _give(hostile, found, addressed(name.decode(), dice), _soon(body, requests()[name.decode()]))

    async def a_door(dice: Random) -> None:
        service, port = dice.choice(sorted(ports.items()))
        await _ask(found, service, port, a_request(dice, service))

    async def a_web_socket(dice: Random) -> None:
        await _ask(found, "sockets", ports["webrtc-gateway"], a_socket(dice))

    async def keep_on(kind: str, one: Callable[[Random], Awaitable[None]]) -> None:
        while time.monotonic() < until_s and found.inputs[kind] < most:
            found.inputs[kind] += 1
            await one(Random(f"{seed} {kind} {found.inputs[kind]}"))
            if kind == "commands" and not found.inputs[kind] % _CLEAN_EVERY:
                await _stop_all(hostile)
                await _set_up(hostile)

    async def ask_ordinary_things() -> None:
        while True:
            for question in _ORDINARY:
                began_s = time.monotonic()
                try:
                    await ordinary.request_raw(f"{PREFIX}.cmd.{question}", b"{}", _ORDINARY_SECONDS)
                except MeshError as error:
                    found.wrong.append(f"{question} is not answered to others: {error.code} {error}")
                found.ordinary += 1
                found.slowest_ordinary_s = max(found.slowest_ordinary_s, time.monotonic() - began_s)
            await asyncio.sleep(_BETWEEN_SECONDS)

    kinds = (("commands", a_command), ("requests", a_door), ("sockets", a_web_socket))
    await _set_up(hostile)
    asking = asyncio.create_task(ask_ordinary_things(), name="ordinary")
    try:
        await asyncio.gather(*(keep_on(kind, one) for kind, one in kinds for _ in range(_AT_ONCE)))
        await _stop_all(hostile)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await hostile.drain()
        await ordinary.drain()
    return found


def _soon(body: bytes, kind: type[Any]) -> bytes:
    """Without a long wait for the state: what is asked is whether it is answered."""
    if "wait_s" not in kind.__struct_fields__:
        return body
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return json.dumps({**fields, "wait_s": 0}).encode() if isinstance(fields, dict) else body


async def _give(bus: Bus, found: Fire, name: str, body: bytes) -> None:
    try:
        await bus.request_raw(f"{PREFIX}.cmd.{name}", body, _REPLY_SECONDS)
        found.answers["commands 200"] += 1
    except MeshError as error:
        found.answers[f"commands {error.code}"] += 1
        if error.code == 500:
            found.wrong.append(f"{name}: 500 {error.message} for {body[:600]!r}")


async def _ask(found: Fire, kind: str, port: int, data: bytes) -> None:
    answer = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        found.wrong.append(f"{kind} takes no connection: {error}")
        return
    try:
        writer.write(data)
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await reader.read(4096)
            while answer.startswith(_UPGRADED) and await reader.read(4096):  # until it says no more of the frames
                continue
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    status = answer.split(b" ")[1][:3].decode("ascii", "replace") if answer.startswith(b"HTTP/") else "silence"
    found.answers[f"{kind} {status}"] += 1
    if status == "500":
        found.wrong.append(f"{kind}: {answer[:200]!r} for {data[:800]!r}")


async def _set_up(bus: Bus) -> None:
    """What commands are about; some that came before have changed it."""
    for name, fields in _RESOURCES:
        body = json.dumps({**fields, "wait_s": 1}).encode()
        with contextlib.suppress(MeshError):
            await bus.request_raw(f"{PREFIX}.cmd.{name}", body, _ORDINARY_SECONDS)


async def _stop_all(bus: Bus) -> None:
    """Everything that a command began; what is gone meanwhile is no matter."""
    for item in CHANNELS:
        name = item.address.split(".cmd.", 1)[-1]
        if item.semantics != "request-reply" or not name.endswith(".list") or "{" in name or name.startswith(_NEVER):
            continue
        service = name.partition(".")[0]
        try:
            listed = msgspec.json.decode(await bus.request_raw(f"{PREFIX}.cmd.{name}", b"{}", _ORDINARY_SECONDS))
        except MeshError:
            continue
        for entry in (one for many in listed.values() if isinstance(many, list) for one in many):
            spec = entry.get("spec") if isinstance(entry, dict) else None
            if not isinstance(spec, dict):
                continue
            for verb, fields in _ways_to_stop(service, spec):
                try:
                    await bus.request_raw(f"{PREFIX}.cmd.{service}.{verb}", json.dumps(fields).encode(), _REPLY_SECONDS)
                except MeshError:
                    continue


def _ways_to_stop(service: str, spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Commands of the service that take away what has such a spec: those of the table whose fields it has."""
    found = []
    for name, kind in requests().items():
        if not name.startswith(f"{service}.stop"):
            continue
        wanted = [one.name for one in msgspec.structs.fields(kind) if one.required]
        if all(one in spec for one in wanted):
            found.append((name.rpartition(".")[2], {one: spec[one] for one in wanted} | _NO_WAIT))
    return found


_NO_WAIT: Final = {"wait_s": 0}


def run(seconds: float, seed: int, most: int = 1 << 62) -> Fire:
    """A mesh of its own, under fire; what is wrong with it afterwards is in `wrong`, too."""
    ports = {service: free_port() for service in DOORS if service != "webrtc-gateway"}
    environment = {f"FRAMEMESH_{name.upper().replace('-', '_')}_HTTP_PORT": str(port) for name, port in ports.items()}
    with RunningMesh(environment=environment) as mesh:
        ports["webrtc-gateway"] = int(mesh.console.rstrip("/").rpartition(":")[2].partition("/")[0])
        before = mesh.pids()
        found = asyncio.run(fire(mesh, ports, seconds, seed, most))
        after = mesh.pids()
        found.wrong += [f"{name} has ended" for name, pid in before.items() if after.get(name) != pid]
        log = mesh.log.read_text()
        for match in list(_WORST.finditer(log))[:5]:
            found.wrong.append(f"the log: {log[max(0, match.start() - 300) : match.start() + _LOG_CHARACTERS]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="A whole mesh under fire.")
    parser.add_argument("--seconds", type=float, default=_SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = run(given.seconds, given.seed)
    text = json.dumps(found.report(), indent=1)
    (Path(__file__).parent / "results" / "live.json").write_text(text + "\n")
    print(text)
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
