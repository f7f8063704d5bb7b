"""The hand's life: it ends when its input does, with all outputs in their safe states, and for nothing else."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import MeshError
from services.io_signal.hand.hand import Hand
from services.io_signal.hand.keep_marks import KeepMarks
from services.io_signal.hand.last_words import LastWords
from services.io_signal.hand.lock import take_lock
from services.io_signal.hand.protocol import EXIT_CANNOT_START, MAX_LINE_BYTES, Ready, Setup, read_by_hand
from shared.logs import setup_logging
from shared.standard_lines import StandardLines, read_setup

log = logging.getLogger(__name__)

_MOST_UNSENT_BYTES: Final = 4 << 20  # events of seconds
_NICENESS: Final = -10  # before all that is usual, behind what the system itself puts first


def main() -> None:
    """Drive devices until the service ends the conversation; does not return."""
    # It outlives the service on purpose, and ends by its own means: no signal but -9 leaves an output on.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # An output that is to be off does not wait for encoders: 100 commands a second take 6 % of a processor here.
    with contextlib.suppress(PermissionError):  # as root, or with CAP_SYS_NICE
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    try:
        asyncio.run(_talk())
        code = 0
    except MeshError as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        code = EXIT_CANNOT_START
    logging.shutdown()
    os._exit(code)  # a thread that hangs in a driver must not keep it


async def _talk() -> None:
    lines = await StandardLines.open(max_line_bytes=MAX_LINE_BYTES, most_unsent_bytes=_MOST_UNSENT_BYTES)
    first = await lines.read()
    if not first:
        return
    setup = read_setup(first, read_by_hand, Setup)
    setup_logging("io-signal hand", setup.log)
    await take_lock(Path(setup.lock))
    words = LastWords(lines, Path(setup.last_words))
    hand = Hand(setup.limits, words.tell, KeepMarks(Path(setup.lock).parent, setup.node))
    lines.tell(Ready())
    try:
        while text := await lines.read():
            hand.take(read_by_hand(text))
    except (msgspec.DecodeError, ValueError) as error:  # ValueError: a line without end
        log.error("the service speaks in riddles: %s", error)
    finally:
        log.info("the service has gone: all outputs to their safe states")
        words.service_has_gone()
        await hand.close()
        words.write()
