"""Probes run side by side, each with a deadline; one that fails or hangs ends no other."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

from schemas.errors import MeshError
from services.cli.doctor.finding import Finding, Group
from services.cli.doctor.machine import Machine

Look = Callable[[Machine], Iterator[Finding]] | Callable[[Machine], AsyncIterator[Finding]]


@dataclass(frozen=True)
class Probe:
    """One group's look at one thing."""

    group: Group
    check: str
    look: Look


async def examine(machine: Machine, probes: Iterable[Probe]) -> tuple[Finding, ...]:
    """What all of them find, in their order."""
    found = await asyncio.gather(*(_one(machine, probe) for probe in probes))
    return tuple(finding for findings in found for finding in findings)


async def _one(machine: Machine, probe: Probe) -> list[Finding]:
    findings: list[Finding] = []  # what was found before the time was over counts
    try:
        async with asyncio.timeout(machine.deadline_seconds):
            looking = probe.look(machine)
            if isinstance(looking, AsyncIterator):
                async for finding in looking:
                    findings.append(finding)  # noqa: PERF401  # one by one: what came before the deadline counts
            else:
                findings += await _in_thread(looking)
    except TimeoutError:
        findings.append(
            Finding(
                probe.group,
                probe.check,
                "warning",
                f"not known: no answer within {machine.deadline_seconds:g} s",
                f"framemesh doctor --only {probe.group} --deadline 30",
            )
        )
    except MeshError as error:
        findings.append(Finding(probe.group, probe.check, "wrong", error.message, "correct that setting"))
    except Exception as error:  # a probe reads what kernels and other programs write: that must end no other probe
        text = f"not known: {type(error).__name__}: {error}"
        findings.append(Finding(probe.group, probe.check, "warning", text, "tell the makers of framemesh"))
    return findings


async def _in_thread(looking: Iterator[Finding]) -> list[Finding]:
    """In a thread that nobody waits for at the end: a file system or a driver may hold it for ever."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Finding]] = loop.create_future()

    def settle(result: list[Finding] | None, error: BaseException | None) -> None:
        if done.done():  # the time was over
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result or [])

    def run() -> None:
        try:
            result, failed = list(looking), None
        except BaseException as error:  # told to who waits
            result, failed = None, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await done
