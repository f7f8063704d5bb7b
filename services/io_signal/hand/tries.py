"""A device and its tries: each within its time, and none that could end the worker."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from schemas.errors import ErrorInfo, MeshError
from schemas.signal_resources import SignalSpec
from schemas.units import parse_duration
from services.io_signal.hand.drivers.base import DeviceError, OutputDriver
from services.io_signal.hand.protocol import Send
from services.io_signal.patterns import compile_pattern

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.02  # a device that restarts its listener is back by then; one that is gone stays gone


class Tries:
    """Awaited by one at a time."""

    def __init__(self, spec: SignalSpec, driver: OutputDriver) -> None:
        self._driver = driver
        self.again = 0
        """Tries that were not the first of their command."""
        self.take(spec)

    def take(self, spec: SignalSpec) -> None:
        """Times and number of tries are those of `spec` from now on."""
        self._spec = spec
        self.timeout_seconds = parse_duration(spec.timeout, "timeout")

    async def set(
        self, on: bool, text: str, tries: int | None = None, give_up: Callable[[], bool] = lambda: False
    ) -> int | ErrorInfo:
        """CLOCK_REALTIME in ns when the device had it, or why it does not. `give_up` is asked before each new try."""
        error: MeshError | None = None
        for attempt in range(self._spec.retries + 1 if tries is None else tries):
            if attempt:
                self.again += 1
                await asyncio.sleep(_RETRY_SECONDS)
                if give_up():
                    break
            try:
                async with asyncio.timeout(self.timeout_seconds):
                    return await self._driver.set(on, text)
            except MeshError as failure:
                error = failure
            except TimeoutError:
                error = self._too_slow()
            except Exception as failure:  # of a library: one device's trouble must not end the others'
                log.exception("%s: its driver failed", self._spec.signal)
                error = DeviceError(f"{self._spec.signal}: {type(failure).__name__}; see the log")
        assert error is not None  # there was one try at least
        return error.info

    async def send(self, asked: Send) -> tuple[int, str] | ErrorInfo:
        """When the text was sent and the device's answer, or why not."""
        try:
            reply = compile_pattern(asked.reply, "reply") if asked.reply is not None else None
            async with asyncio.timeout(self.timeout_seconds):
                answer = await self._driver.send(asked.text, reply)
        except MeshError as error:
            return error.info
        except TimeoutError:
            return self._too_slow().info
        except Exception as failure:  # as above
            log.exception("%s: its driver failed", self._spec.signal)
            return DeviceError(f"{self._spec.signal}: {type(failure).__name__}; see the log").info
        return time.time_ns(), answer

    async def close(self) -> None:
        """Let go of the device as it is."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self._driver.close()
        except (MeshError, OSError, TimeoutError) as error:
            log.info("%s: letting go: %s", self._spec.signal, error)

    def _too_slow(self) -> DeviceError:
        return DeviceError(f"{self._spec.signal}: the device does not answer within {self._spec.timeout}")
