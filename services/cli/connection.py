"""The command line's connection to a mesh."""

import argparse
import contextlib
import os
from collections.abc import AsyncIterator

from shared.bus import Bus

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
        Unavailable: there is none.
    """
    url = options.nats or os.environ.get("FRAMEMESH_NATS_URL") or DEFAULT_URL
    bus = await Bus.connect(
        url,
        name="framemesh-cli",
        credentials_file=os.environ.get("FRAMEMESH_NATS_CREDENTIALS"),
        timeout_seconds=_CONNECT_SECONDS,
    )
    try:
        yield bus
    finally:
        await bus.drain()
