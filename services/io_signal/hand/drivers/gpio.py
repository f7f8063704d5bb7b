"""GPIO lines by the kernel's character devices (libgpiod 2): outputs, and inputs with the kernel's own instants."""

import asyncio
import errno
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import gpiod
from gpiod.line import Bias, Clock, Direction, Edge, Value

from schemas.signal_resources import InputSpec, SignalSpec
from services.io_signal.hand.drivers.base import DeviceError, Limits, Reading, no_texts
from services.io_signal.patterns import Pattern
from services.io_signal.signals.addresses import GpioAddress, input_address, output_address

T = TypeVar("T")

_CONSUMER: Final = "framemesh"  # what gpioinfo shows
_EVENTS_KEPT: Final = 1_024  # by the kernel, while this process is busy; its own limit
_EVENTS_AT_ONCE: Final = 64  # half a millisecond: of a line that floats and never rests, outputs get their turn
_BIASES: Final = {"none": Bias.DISABLED, "up": Bias.PULL_UP, "down": Bias.PULL_DOWN}


class GpioOutput:
    """See `OutputDriver`. A line changes no more than once when it is taken: to the state that is wanted first."""

    def __init__(self, spec: SignalSpec, limits: Limits) -> None:
        address = output_address("gpio", spec.address)
        assert isinstance(address, GpioAddress)  # of this mode
        self._line, self._safe = _Line(address), spec.safe
        self._settings = gpiod.LineSettings(
            direction=Direction.OUTPUT, active_low=spec.polarity == "active-low", output_value=Value.INACTIVE
        )

    async def open(self) -> None:
        if self._safe == "hold":
            await self._line.do(self._take_as_it_is)
        else:
            await self._line.do(lambda: self._take(self._safe == "on"))

    async def set(self, on: bool, text: str) -> int:
        return await self._line.do(lambda: self._set(on))

    async def send(self, text: str, reply: Pattern | None) -> str:
        raise no_texts(str(self._line))

    async def close(self) -> None:
        """Most chips keep the level of a line that nobody has any more; the kernel promises nothing."""
        self._line.close()

    def _set(self, on: bool) -> int:
        if not self._take(on):
            self._line.taken.set_value(self._line.number, _value(on))
        return time.time_ns()

    def _take(self, on: bool) -> bool:
        """True where it was not taken yet, and now is in this state."""
        if self._line.request is not None:
            return False
        self._settings.output_value = _value(on)
        self._line.take(self._settings)
        return True

    def _take_as_it_is(self) -> None:
        if self._line.request is not None:
            return
        self._line.take(gpiod.LineSettings(direction=Direction.AS_IS, active_low=self._settings.active_low))
        self._settings.output_value = self._line.taken.get_value(self._line.number)
        self._line.taken.reconfigure_lines({self._line.number: self._settings})


class GpioInput:
    """See `InputDriver`. Its first reading tells how the line is, the others are edges.

    The kernel could debounce as well, but gives an edge that lasted the instant at which it had lasted: too late by
    that time for the picture that was exposed when it came.
    """

    def __init__(self, spec: InputSpec, limits: Limits) -> None:
        address = input_address("gpio", spec.address)
        assert isinstance(address, GpioAddress)  # of this mode
        self._line = _Line(address)
        self._settings = gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=Edge.BOTH,
            bias=_BIASES[spec.pull],
            event_clock=Clock.REALTIME,
        )
        self.left_out: Counter[str] = Counter()
        """Edges that were `lost` in the kernel, which keeps so many and no more."""
        self._next_number = 0

    async def open(self) -> None:
        await self._line.do(lambda: self._line.take(self._settings))

    async def run(self, take: Callable[[Reading], None]) -> None:
        loop = asyncio.get_running_loop()
        level = await self._line.do(lambda: self._line.taken.get_value(self._line.number))
        take(Reading(level is Value.ACTIVE, time.time_ns(), "arrival"))
        lost: asyncio.Future[None] = loop.create_future()
        descriptor = self._line.taken.fd

        def read() -> None:
            try:
                events = self._line.taken.read_edge_events(_EVENTS_AT_ONCE)  # there are some: it does not wait
            except OSError as error:
                loop.remove_reader(descriptor)
                lost.set_exception(self._line.trouble(error))
                return
            for event in events:
                self._count(event.line_seqno)
                take(Reading(event.event_type is event.Type.RISING_EDGE, event.timestamp_ns, "kernel"))

        loop.add_reader(descriptor, read)
        try:
            await lost
        finally:
            loop.remove_reader(descriptor)

    async def close(self) -> None:
        self._line.close()

    def _count(self, number: int) -> None:
        if self._next_number and number > self._next_number:
            self.left_out["lost"] += number - self._next_number
        self._next_number = number + 1


class _Line:
    """One line, and the thread in which it is asked: a chip behind a bus (I2C, USB) takes its time."""

    def __init__(self, address: GpioAddress) -> None:
        self.number, self._chip = address.line, address.chip
        self.request: gpiod.LineRequest | None = None
        self._thread = ThreadPoolExecutor(1, f"gpio {self}")

    def __str__(self) -> str:
        return f"line {self.number} of {self._chip}"

    @property
    def taken(self) -> gpiod.LineRequest:
        if self.request is None:
            raise DeviceError(f"{self} is gone")
        return self.request

    async def do(self, work: Callable[[], T]) -> T:
        """In its thread, one after the other: what a cancelled call has begun ends before the next begins.

        Raises:
            DeviceError: what is wrong with it; it is to be taken anew then.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._try, work)

    def take(self, settings: gpiod.LineSettings) -> None:
        """In the thread."""
        self.request = gpiod.request_lines(
            f"/dev/{self._chip}", {self.number: settings}, consumer=_CONSUMER, event_buffer_size=_EVENTS_KEPT
        )

    def close(self) -> None:
        """Once what is being done has ended."""
        self._thread.submit(self._release)
        self._thread.shutdown(wait=False)

    def _try(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except DeviceError:
            raise
        except (OSError, ValueError, RuntimeError) as error:  # gpiod's own errors are RuntimeErrors
            told = self.trouble(error)
            self._release()
            raise told from None

    def _release(self) -> None:
        request, self.request = self.request, None
        if request is not None:
            request.release()

    def trouble(self, error: Exception) -> DeviceError:
        code = error.errno if isinstance(error, OSError) else None
        if code == errno.ENOENT:
            return DeviceError(f"{self}: there is no /dev/{self._chip}; see `ls /dev/gpiochip*`")
        if code in (errno.EACCES, errno.EPERM):
            return DeviceError(f"{self}: no permission for /dev/{self._chip}; add the user to its group, often gpio")
        if code == errno.EBUSY:
            return DeviceError(f"{self} is in use by something else; see `gpioinfo`")
        if code in (errno.ENODEV, errno.ENXIO, errno.ENOTTY):
            return DeviceError(f"{self}: /dev/{self._chip} is gone, or no GPIO chip")
        if code == errno.EINVAL or isinstance(error, ValueError):
            return DeviceError(f"{self}: the chip has no such line, or the line cannot do this (pull, edges)")
        return DeviceError(f"{self}: {os.strerror(code) if code else error}")


def _value(on: bool) -> Value:
    return Value.ACTIVE if on else Value.INACTIVE
