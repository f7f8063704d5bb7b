"""The outputs and inputs of this node: told by the service, and safe when it says nothing any more."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from schemas.errors import ErrorInfo, InternalError, MeshError, Unavailable
from services.io_signal.hand import drivers
from services.io_signal.hand.device import OutputDevice
from services.io_signal.hand.drivers import control_file, tcp
from services.io_signal.hand.drivers.base import DeviceError, Limits, to_bytes
from services.io_signal.hand.inputs.ports import InputPorts
from services.io_signal.hand.keep_marks import KeepMarks
from services.io_signal.hand.protocol import (
    AllSafe,
    Cause,
    Done,
    FromHand,
    LeaveInput,
    LetGo,
    Listen,
    Output,
    Ping,
    Pong,
    Send,
    SetUp,
    Switch,
    ToHand,
    WriteFile,
)
from services.io_signal.hand.texts import unescaped
from services.io_signal.patterns import compile_pattern
from services.io_signal.signals.addresses import TcpAddress, file_address
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.2  # how late a bus that is away may be noticed; of what is told in seconds
_SAFE_SECONDS: Final = 3.0  # for devices that do not answer to come to their safe state before the hand ends
_UNKNOWN_SECONDS: Final = 0.3  # for one that has never answered: nothing of ours is on there
_FILE_SECONDS: Final = 2.0  # for a text into a control file
_MS: Final = 1_000


class Hand:
    """Belongs to the event loop."""

    def __init__(self, limits: Limits, tell: Callable[[FromHand], None], marks: KeepMarks) -> None:
        self._limits, self._tell, self._marks = limits, tell, marks
        self._outputs: dict[str, OutputDevice] = {}
        self._inputs = InputPorts(limits, tell)
        self._changing: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._heard_seconds = self._loop.time()
        self._lost: set[str] = set()
        self._locked = False
        self._watch = start_task(self._watch_the_bus(), "watch the bus")

    def take(self, message: ToHand) -> None:
        """Do as told; never waits."""
        match message:
            case Ping():
                if message.bus:
                    self._heard_seconds = self._loop.time()
                self._tell(Pong(number=message.number))
            case Switch():
                device = self._outputs.get(message.signal)
                if device is None:
                    self._tell(Done(number=message.number, error=_not_here(message.signal)))
                else:
                    self._answer_later(device.submit(message))
            case Send() if message.signal is not None:
                device = self._outputs.get(message.signal)
                if device is None:
                    self._tell(Done(number=message.number, error=_not_here(message.signal)))
                else:
                    self._answer_later(device.submit(message))
            case Send():
                self._begin(message.number, self._send_to_host(message))
            case WriteFile():
                self._begin(message.number, self._write(message))
            case SetUp():
                self._begin(message.number, self._set_up(message))
            case LetGo():
                self._begin(message.number, self._let_go(message))
            case AllSafe():
                self._begin(message.number, self._when_safe(message.number, self._all_safe(message)))
            case Listen():
                self._begin(message.number, self._listen(message))
            case LeaveInput():
                self._begin(message.number, self._leave_input(message))
            case _:
                log.warning("a second setup is left out")

    async def close(self, cause: Cause = "end") -> None:
        """Every output to its safe state, within a deadline; then let go of the devices."""
        await end_tasks(self._watch, *self._tasks)
        devices = tuple(self._outputs.values())
        for device in devices:
            device.make_safe(cause)
        # One that has never answered is not waited for: nothing of ours is on there.
        waiting = [asyncio.ensure_future(device.is_safe.wait()) for device in devices if device.state.known]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=_SAFE_SECONDS)
            for device in devices:
                if not device.is_safe.is_set():
                    log.error("%s does not come to its safe state", device.spec.signal)
            await end_tasks(*late)
        await asyncio.gather(self._inputs.close(), *(device.close() for device in devices))
        self._outputs.clear()

    # -- requests that wait ----------------------------------------------------------------------------------

    async def _set_up(self, asked: SetUp) -> Done:
        async with self._changing.setdefault(asked.spec.signal, asyncio.Lock()):
            return await self._set_up_alone(asked)

    async def _set_up_alone(self, asked: SetUp) -> Done:
        before = self._outputs.get(asked.spec.signal)
        if before is not None and before.change(asked.spec):
            return Done(number=asked.number)
        if before is not None:
            await self._end(before)
        # Modbus takes a third of a second to import: keep times of others end meanwhile.
        await asyncio.to_thread(drivers.load, asked.spec.mode)
        device = OutputDevice(asked.spec, drivers.output(asked.spec, self._limits), self._say, self._marks)
        self._outputs[asked.spec.signal] = device
        self._say(device.state)  # what the one before it had is over, its error too
        device.start(locked=asked.safe or self._locked)
        return Done(number=asked.number)

    async def _let_go(self, asked: LetGo) -> Done:
        async with self._changing.setdefault(asked.signal, asyncio.Lock()):
            device = self._outputs.get(asked.signal)
            if device is None:
                return Done(number=asked.number, error=_not_here(asked.signal))
            await self._end(device)
            return Done(number=asked.number)

    async def _end(self, device: OutputDevice) -> None:
        device.make_safe("stop")
        if not await set_within(device.is_safe, _SAFE_SECONDS if device.state.known else _UNKNOWN_SECONDS):
            log.error("%s does not come to its safe state", device.spec.signal)
        await device.close()
        if self._outputs.get(device.spec.signal) is device:
            del self._outputs[device.spec.signal]
        self._lost.discard(device.spec.signal)

    def _all_safe(self, asked: AllSafe) -> tuple[str, ...]:
        self._locked = asked.active
        if not asked.active:
            for device in self._outputs.values():
                device.unlock()
            return ()
        return tuple(name for name, device in self._outputs.items() if device.lock(asked.by, asked.why))

    async def _when_safe(self, number: int, switched: tuple[str, ...]) -> Done:
        waiting = [device for name in switched if (device := self._outputs.get(name)) is not None]
        for device in waiting:
            await set_within(device.is_safe, _SAFE_SECONDS if device.state.known else _UNKNOWN_SECONDS)
        late = [device.spec.signal for device in waiting if not device.is_safe.is_set()]
        if late:
            raise Unavailable(f"off-mode is active; not in their safe states yet, and tried again: {', '.join(late)}")
        return Done(number=number, signals=switched)

    async def _listen(self, asked: Listen) -> Done:
        await self._inputs.listen(asked.spec)
        return Done(number=asked.number)

    async def _leave_input(self, asked: LeaveInput) -> Done:
        await self._inputs.leave(asked.input)
        return Done(number=asked.number)

    async def _send_to_host(self, asked: Send) -> Done:
        address = TcpAddress(asked.host, asked.port)
        reply = compile_pattern(asked.reply, "reply") if asked.reply is not None else None
        async with asyncio.timeout(asked.timeout_ms / _MS):
            sent_ns, answer = await tcp.send_to(address, self._limits, asked.text, reply)
        return Done(number=asked.number, edge_ns=sent_ns, reply=answer)

    async def _write(self, asked: WriteFile) -> Done:
        path = file_address(asked.file).path
        data = to_bytes(unescaped(asked.text))
        async with asyncio.timeout(_FILE_SECONDS):
            written_ns = await self._loop.run_in_executor(None, control_file.write, path, self._limits.file_roots, data)
        return Done(number=asked.number, edge_ns=written_ns)

    def _begin(self, number: int, work: Coroutine[Any, Any, Done]) -> None:
        async def answer() -> None:
            try:
                done = await work
            except MeshError as error:
                done = Done(number=number, error=error.info)
            except TimeoutError:
                done = Done(number=number, error=DeviceError("the device does not answer in time").info)
            except Exception:  # of a library: one request's trouble must not end the outputs
                log.exception("request %d failed", number)
                done = Done(number=number, error=InternalError("failed; see the log").info)
            self._tell(done)

        task = start_task(answer(), f"request {number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what is told ----------------------------------------------------------------------------------------

    def _answer_later(self, answer: "asyncio.Future[Done]") -> None:
        answer.add_done_callback(lambda done: self._tell(done.result()))

    def _say(self, output: Output) -> None:
        self._tell(output)

    async def _watch_the_bus(self) -> None:
        """Safe states where nobody says that the bus is there: it is away, or the service stands still."""
        never = asyncio.Event()
        while True:
            await set_within(never, _LOOK_SECONDS)
            away_seconds = self._loop.time() - self._heard_seconds
            for name, device in self._outputs.items():
                if away_seconds <= device.bus_lost_seconds:
                    self._lost.discard(name)
                elif name not in self._lost:
                    self._lost.add(name)
                    log.warning("%s: the bus is away for %.1f s", name, away_seconds)
                    device.make_safe("bus-lost")


def _not_here(signal: str) -> ErrorInfo:
    return Unavailable(f"signal {signal!r} is being set up; try again").info
