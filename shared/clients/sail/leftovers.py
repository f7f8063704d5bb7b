"""Streams that nobody writes, as of programs that were killed: whoever opens the next encoder on the host takes them
away."""

import contextlib
import os
import re
import time
from typing import Final

from schemas.commands import MeshStatus
from schemas.errors import MeshError
from shared.clients.async_mesh import AsyncMesh
from shared.clients.sail.connection import mesh
from shared.clients.sail.log import log
from shared.clients.sail.session import NAME_PREFIX, open_names
from shared.ring.folder import written_rings

_NAME: Final = re.compile(rf"^{NAME_PREFIX}.+-(\d+)-\d+$")
_YOUNG_NS: Final = 30_000_000_000  # a stream is made before its ring; and one in another container has another pid


def sweep_leftovers() -> None:
    """Take away the streams of this host's encoders that nobody writes any more, and what is left of such streams.

    Raises:
        Unavailable: there is no mesh.
    """
    mesh().run(_sweep)


async def _sweep(client: AsyncMesh) -> None:
    status = await client.status()
    for name in _left(status, client):
        log.warning("%s: its program has ended; it is taken away", name)
        for output in status.outputs:
            if output.spec.stream == name:
                with contextlib.suppress(MeshError):  # another program takes it away as well
                    await client.stop_output(name, output.spec.output)
        for rendition in status.renditions:
            if rendition.spec.stream == name:
                with contextlib.suppress(MeshError):
                    await client.stop_rendition(name, rendition.spec.rendition)
        with contextlib.suppress(MeshError):
            await client.stop_stream(name)


def _left(status: MeshStatus, client: AsyncMesh) -> list[str]:
    """Names of streams that nobody writes, and of streams that are gone although something made of them is not."""
    now_ns, node = time.time_ns(), client.settings.node
    streams = {entry.spec.stream for entry in status.streams}
    # A stream is asked for before what is made of it, and goes after it.
    made = {(entry.spec.stream, entry.spec.node) for entry in status.outputs}
    made |= {(entry.spec.stream, entry.spec.node) for entry in status.renditions if entry.revision}  # was asked for
    names = sorted(name for name, where in made if where == node and _NAME.match(name) and name not in streams)
    names = [name for name in names if name not in open_names]
    for entry in status.streams:
        found = _NAME.match(entry.spec.stream)
        if found is None or entry.spec.node != node or entry.actual is None:
            continue
        if entry.spec.stream in open_names or written_rings(client.settings.shm_dir, entry.spec.stream):
            continue
        if now_ns - entry.actual.since_ns > _YOUNG_NS or not os.path.exists(f"/proc/{found[1]}"):
            names.append(entry.spec.stream)
    return names
