"""What systemd is told of a service (sd_notify(3)): that it is ready, that its event loop turns, that it stops."""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
READY: Final = "READY=1"
ALIVE: Final = "WATCHDOG=1"
STOPPING: Final = "STOPPING=1"


def tell(word: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell whoever started us, where it wants to know; never waits, and never fails."""
    address = environ.get(VARIABLE, "")
    if address[:1] not in ("/", "@"):  # nobody asks
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.setblocking(False)
        line.sendto(word.encode(), "\0" + address[1:] if address[0] == "@" else address)
