"""One hand for each node: the kernel frees the lock of a dead one, and one that stands still is killed for it."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from pathlib import Path
from typing import Final

from schemas.errors import Unavailable
from services.io_signal.hand.protocol import MODULE

log = logging.getLogger(__name__)

_END_SECONDS: Final = 1.0  # for one whose service has died to bring its outputs to their safe states
_KILLED_SECONDS: Final = 2.0


async def take_lock(path: Path) -> int:
    """Hold `path` until this process ends; an earlier hand is waited for, and killed when it does not end.

    Raises:
        Unavailable: it cannot be had.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; set FRAMEMESH_SHM_DIR") from None
    loop = asyncio.get_running_loop()
    taking = loop.run_in_executor(None, fcntl.flock, handle, fcntl.LOCK_EX)
    done, _ = await asyncio.wait({taking}, timeout=_END_SECONDS)
    if not done:
        _kill(handle)
        done, _ = await asyncio.wait({taking}, timeout=_KILLED_SECONDS)
    if not done:
        raise Unavailable(f"another hand has {path} and does not end")
    os.ftruncate(handle, 0)
    os.pwrite(handle, b"%d" % os.getpid(), 0)
    return handle


def _kill(handle: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        pid = int(os.pread(handle, 20, 0))
        # The number may be another's by now.
        if MODULE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            log.warning("the hand before this one (%d) does not end and is killed", pid)
            os.kill(pid, signal.SIGKILL)
