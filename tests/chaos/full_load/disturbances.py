"""What may happen to a mesh, one thing at a time: each is done, lasts a while, and is over."""

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.launcher.fleet.processes import SERVICES
from shared.ring import LeaseError, RingReader, kept_pictures
from tests.chaos.full_load.load import STEPPED, FullLoad
from tests.chaos.full_load.machine import KEEP_SECONDS, LATE_SECONDS
from tests.chaos.full_load.observer import STREAMS
from tests.support.mesh import FORK_SERVER
from tests.support.processes import below, command

_FROZEN_SECONDS: Final = (1.0, 5.0)  # as a host that swaps; presence lapses after 5
_AWAY_SECONDS: Final = (1.0, 6.0)  # a pulled cable, shorter and longer than a client's patience
_FULL_SECONDS: Final = 3.0
_CUT_SECONDS: Final = 2.0
_SERVER_AWAY_SECONDS: Final = 0.5
_SLOW_SECONDS: Final = 4.0
_STEPPED_SECONDS: Final = 4.0
_STEPS_SECONDS: Final = (3600.0, -60.0, 0.7)  # a wrong time zone; a host set right; a correction that is no slew
_BLOCK: Final = bytes(64 << 10)
_OPEN_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Disturbance:
    """One kind of trouble; `run` returns at its end, from when on recovery is measured.

    Raises:
        OutputStayedOn: the signal's device did not see it safe while its commands were cut off; all else is over.
    """

    kind: str
    run: Callable[[FullLoad, random.Random], None]


class OutputStayedOn(AssertionError):
    """A device did not see its safe state in time."""


def deck(short: bool = False) -> list[Disturbance]:
    """Every kind once; `short`: the cheapest of each family."""
    if short:
        return [
            _kill("capture"),
            _kill("io-signal"),
            _kill_child("io-signal", "io_signal.hand"),
            Disturbance("cut the bus from publisher", _cut_one("publisher")),
            Disturbance("cut a source", _cut_source),
            Disturbance("fill the disk", _fill_disk),
        ]
    return [
        *(_kill(service) for service in SERVICES),
        _kill(FORK_SERVER),
        # Encoders of H.264 and RTMP pushes have no process of their own; these have.
        _kill_child("cloud-mix-proxy", "cloud_mix_proxy"),
        _kill_child("frame-extractor", "frame_extractor"),
        _kill_child("io-signal", "io_signal.hand"),
        *(_freeze(service) for service in SERVICES),
        Disturbance("kill the bus", _kill_bus),
        Disturbance("freeze the bus", _freeze_bus),
        Disturbance("cut the bus from all", _cut_all),
        *(Disturbance(f"cut the bus from {service}", _cut_one(service)) for service in SERVICES),
        Disturbance("fill the disk", _fill_disk),
        Disturbance("fill shared memory", _fill_shm),
        *(Disturbance(f"step the clock of {service}", _step_clock(service)) for service in STEPPED),
        Disturbance("slow reader of the bus", _slow_bus_reader),
        Disturbance("slow reader of rings", _slow_ring_reader),
        Disturbance("slow RTMP server", _slow_rtmp_server),
        Disturbance("cut a source", _cut_source),
    ]


def _pid(load: FullLoad, service: str) -> int:
    """Of the process that runs now; what was killed just before is waited for."""
    return int(load.mesh.wait_for(lambda: load.mesh.pids().get(service), 15, f"a process of {service}"))


def _safe(load: FullLoad, what: str) -> None:
    """Just after it happened. Who still pulses would hide a hand that is back at once, or an output that stays on."""
    limit_seconds = KEEP_SECONDS + LATE_SECONDS * load.slowness
    with load.no_pulses():
        if load.output.off_after(limit_seconds) is None:
            raise OutputStayedOn(f"{what}: the output was not seen safe within {limit_seconds:.1f} s")


def _kill(service: str) -> Disturbance:
    def run(load: FullLoad, _: random.Random) -> None:
        os.kill(_pid(load, service), signal.SIGKILL)
        if service == "io-signal":
            _safe(load, f"{service} killed")

    return Disturbance(f"kill {service}", run)


def _kill_child(service: str, module: str) -> Disturbance:
    def run(load: FullLoad, dice: random.Random) -> None:
        children = load.mesh.wait_for(
            lambda: [pid for pid in below(_pid(load, service)) if any(module in word for word in command(pid))],
            15,
            f"{module} runs",
        )
        with contextlib.suppress(ProcessLookupError):  # those of jobs end by themselves
            os.kill(dice.choice(children), signal.SIGKILL)
        if service == "io-signal":
            _safe(load, "its hand killed")

    return Disturbance(f"kill a child of {service}", run)


def _freeze(service: str) -> Disturbance:
    def run(load: FullLoad, dice: random.Random) -> None:
        pid = _pid(load, service)
        with _frozen([pid, *below(pid)] if service != "io-signal" else [pid]):  # its hand is a guard of its own
            began = time.monotonic()
            if service == "io-signal":
                _safe(load, f"{service} frozen")
            time.sleep(max(0.0, began + dice.uniform(*_FROZEN_SECONDS) - time.monotonic()))

    return Disturbance(f"freeze {service}", run)


@contextlib.contextmanager
def _frozen(pids: Iterable[int]) -> Iterator[None]:
    stopped = []
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in reversed(stopped):
            with contextlib.suppress(ProcessLookupError):  # ended by whoever missed it
                os.kill(pid, signal.SIGCONT)


def _kill_bus(load: FullLoad, _: random.Random) -> None:
    load.nats.kill()
    time.sleep(_SERVER_AWAY_SECONDS)
    load.nats.start()


def _freeze_bus(load: FullLoad, dice: random.Random) -> None:
    with load.nats.silent():
        began = time.monotonic()
        _safe(load, "the bus frozen")
        time.sleep(max(0.0, began + dice.uniform(*_FROZEN_SECONDS) - time.monotonic()))


def _cut_all(load: FullLoad, dice: random.Random) -> None:
    load.cables.pull()
    try:
        began = time.monotonic()
        _safe(load, "the bus cut from all")
        time.sleep(max(0.0, began + dice.uniform(*_AWAY_SECONDS) - time.monotonic()))
    finally:
        load.cables.plug()


def _cut_one(service: str) -> Callable[[FullLoad, random.Random], None]:
    def run(load: FullLoad, dice: random.Random) -> None:
        load.cables.pull(service)
        try:
            began = time.monotonic()
            if service == "io-signal":
                _safe(load, f"the bus cut from {service}")
            time.sleep(max(0.0, began + dice.uniform(*_AWAY_SECONDS) - time.monotonic()))
        finally:
            load.cables.plug(service)

    return run


def _fill_disk(load: FullLoad, _: random.Random) -> None:
    with _filled(load.folder / "data"):
        time.sleep(_FULL_SECONDS)


def _fill_shm(load: FullLoad, _: random.Random) -> None:
    """While capture needs new rings: who has one needs nothing more."""
    with _filled(load.mesh.shm_dir.parent) as fill:
        os.kill(_pid(load, "capture"), signal.SIGKILL)
        until = time.monotonic() + _FULL_SECONDS
        while time.monotonic() < until:  # a bystander takes what the killed one leaves
            fill()
            time.sleep(0.05)


@contextlib.contextmanager
def _filled(folder: Path) -> Iterator[Callable[[], None]]:
    """By somebody else, who takes what becomes free at each call."""
    path = folder / "bystander"
    with path.open("wb", buffering=0) as file:

        def fill() -> None:
            with contextlib.suppress(OSError):  # full
                while file.write(_BLOCK):
                    pass

        fill()
        try:
            yield fill
        finally:
            path.unlink()


def _step_clock(service: str) -> Callable[[FullLoad, random.Random], None]:
    def run(load: FullLoad, dice: random.Random) -> None:
        load.clocks.step(service, dice.choice(_STEPS_SECONDS))
        time.sleep(_STEPPED_SECONDS)
        load.clocks.step(service, 0.0)

    return run


def _slow_bus_reader(load: FullLoad, _: random.Random) -> None:
    """Asks for everything and reads nothing: the server ends it."""
    with socket.create_connection(("127.0.0.1", load.nats.port), timeout=_OPEN_SECONDS) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b'CONNECT {"verbose":false,"name":"slow"}\r\nSUB > 1\r\n')
        time.sleep(_SLOW_SECONDS)


def _slow_ring_reader(load: FullLoad, _: random.Random) -> None:
    """Holds as many pictures as one reader may."""
    with contextlib.ExitStack() as held:
        reader = RingReader(load.mesh.shm_dir)
        held.callback(reader.close)
        for stream in STREAMS:
            with contextlib.suppress(LeaseError):
                for ref in kept_pictures(load.mesh.shm_dir, stream):
                    held.enter_context(reader.lease(ref))
        time.sleep(_SLOW_SECONDS)


def _slow_rtmp_server(load: FullLoad, _: random.Random) -> None:
    server = load.rtmp.process
    assert server is not None
    with _frozen([server.pid, *below(server.pid)]):
        time.sleep(_SLOW_SECONDS)


def _cut_source(load: FullLoad, _: random.Random) -> None:
    load.end_application()
    time.sleep(_CUT_SECONDS)
    load.begin_application()
