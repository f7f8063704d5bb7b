"""The command line's connection to a mesh."""

import argparse
import contextlib
import getpass
import os
import socket
from collections.abc import AsyncIterator

from schemas.trace import read_traceparent
from shared.bus import Bus
from shared.cause import begin, set_current
from shared.settings import Settings, load_settings

DEFAULT_URL = "nats://127.0.0.1:4222"
_CONNECT_SECONDS = 3.0


def add_nats_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nats", metavar="URL", help=f"the mesh's NATS server (FRAMEMESH_NATS_URL, else {DEFAULT_URL})"
    )


@contextlib.asynccontextmanager
async def connected(options: argparse.Namespace) -> AsyncIterator[Bus]:
    """The bus of the mesh that the options or the environment name.

    Raises:
        InvalidValue: a setting that is none.
        Unavailable: there is none, or it refuses us.
    """
    settings = load_settings(Settings, "cli")
    bus = await Bus.connect(
        options.nats or settings.nats_url or DEFAULT_URL,
        name="framemesh-cli",
        access=settings.bus_access(),
        timeout_seconds=_CONNECT_SECONDS,
        replicas=settings.nats_replicas,
    )
    begin_story()
    try:
        yield bus
    finally:
        await bus.drain()


def begin_story() -> None:
    """All that this run asks for is one story: of who started it, as OpenTelemetry's tools hand it on, or its own."""
    set_current(begin(read_traceparent(os.environ.get("TRACEPARENT")), actor=_who()))


def _who() -> str:
    """`user@host`, as this machine says; nobody has to believe it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
