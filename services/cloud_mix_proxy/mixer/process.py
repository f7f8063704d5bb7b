"""The life of the process that makes one mix; see `protocol` for what is said on its standard input and output."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from schemas.errors import MeshError
from services.cloud_mix_proxy.mixer.protocol import (
    EXIT_CANNOT_START,
    EXIT_ENDED,
    EXIT_SUPERSEDED,
    MAX_LINE_BYTES,
    Layout,
    Setup,
    Started,
    Still,
    read_by_mixer,
)
from services.cloud_mix_proxy.mixer.session import MixSession
from shared.bus import Bus
from shared.epochs import next_epoch
from shared.logs import setup_logging
from shared.parent import end_with_parent
from shared.ring import Superseded
from shared.ring.folder import newest_epoch
from shared.shm_folder import ensure_folder
from shared.standard_lines import StandardLines, read_setup
from shared.tasks import end_tasks

log = logging.getLogger(__name__)

EXIT_FAILED = 1
_REPORT_SECONDS = 1.0
_MOST_UNSENT_BYTES = 1 << 20  # reports of minutes


def main() -> None:
    """Mix until the service ends the conversation; does not return."""
    end_with_parent()  # if the service is gone already, its end of the pipe is closed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends this
    try:
        code = asyncio.run(_talk())
    except MeshError as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        code = EXIT_CANNOT_START
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # a thread that hangs must not keep it


async def _talk() -> int:
    lines = await StandardLines.open(max_line_bytes=MAX_LINE_BYTES, most_unsent_bytes=_MOST_UNSENT_BYTES)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    first = await lines.read()
    if not first:
        return EXIT_ENDED
    setup = read_setup(first, read_by_mixer, Setup)
    setup_logging(f"mixer {setup.mix}", setup.log)
    ensure_folder(Path(setup.shm_dir))
    stopped = asyncio.create_task(stopping.wait(), name="stopping")
    connecting = asyncio.create_task(
        Bus.connect(
            setup.nats_url,
            name=f"mixer of {setup.mix}@{setup.node}",
            access=setup.nats_access,
        ),
        name="connecting",
    )
    await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        await end_tasks(connecting)
        return EXIT_ENDED
    bus = connecting.result()
    try:
        epoch = await next_epoch(bus, setup.mix, newest_epoch(Path(setup.shm_dir), setup.mix) + 1)
        session = MixSession(bus, setup, epoch, lines.tell)
        lines.tell(Started(epoch=epoch))
        try:
            return await _until_over(session, bus, lines, stopped)
        finally:
            await session.close()
    finally:
        await bus.drain()


async def _until_over(session: MixSession, bus: Bus, lines: StandardLines, stopped: asyncio.Task[Any]) -> int:
    """Listen and report until one of the reasons to end; returns the exit code."""
    closed = asyncio.Event()
    bus.on_closed(closed.set)
    listening = asyncio.create_task(_listen(session, lines), name="listening")
    reporting = asyncio.create_task(_report(session), name="reporting")
    lost = asyncio.create_task(closed.wait(), name="bus closed")
    mine = {listening, reporting, lost}
    done, _ = await asyncio.wait({*mine, stopped, session.failure}, return_when=asyncio.FIRST_COMPLETED)
    failures = [one.exception() for one in mine & done]
    if session.failure in done:
        failures.append(session.failure.result())
    await end_tasks(*(mine - done))
    for error in failures:
        if isinstance(error, Superseded):
            log.warning("%s", error)
            return EXIT_SUPERSEDED
        if error is not None:
            log.error("the mix cannot go on", exc_info=error)
            return EXIT_FAILED
    return EXIT_FAILED if lost in done else EXIT_ENDED


async def _listen(session: MixSession, lines: StandardLines) -> None:
    """Do as told until the service ends the conversation."""
    while text := await lines.read():
        told = read_by_mixer(text)
        if isinstance(told, Still):
            session.take_still(told)
        elif isinstance(told, Layout):
            await session.show(told)


async def _report(session: MixSession) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        session.report()
