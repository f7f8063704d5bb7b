"""The place in the mesh of a stream that an application writes: asked for at its beginning, given up at its end."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from schemas.errors import Conflict, MeshError, Unavailable
from schemas.frames import Delivery
from schemas.ids import check_id
from schemas.resources import StreamSpec
from shared.clients.commands import Commands
from shared.clients.errors import OtherNode
from shared.clients.state import find_stream, snapshot
from shared.clients.take_away import take_away
from shared.ring import RingGeometry
from shared.settings import Settings

_SOURCE: Final = "app://"


@contextlib.asynccontextmanager
async def stream_place(
    client: Commands, settings: Settings, stream: str, geometry: RingGeometry, fps: float | None, delivery: Delivery
) -> AsyncIterator[None]:
    """Let capture know of the stream until the end of the block; one that existed before stays.

    Raises:
        Conflict: the name belongs to a stream that is not an application's.
        OtherNode: the stream shall be written on another host.
        MeshError: capture's own error; Unavailable when it does not run.
    """
    status = await snapshot(client.bus)
    existing = find_stream(status, check_id(stream, "stream"))
    spec = existing.spec if existing else StreamSpec(stream=stream, source=_SOURCE, audio=False)
    if not spec.source.startswith("app:"):
        raise Conflict(f"stream {stream!r} is {spec.source}; publish under another name, or stop it first")
    if spec.node not in (None, settings.node):
        raise OtherNode(stream, spec.node or "", settings.node)
    even = geometry.width % 2 == 0 and geometry.height % 2 == 0
    size = f"{geometry.width}x{geometry.height}" if even else None
    spec = msgspec.structs.replace(spec, node=settings.node, size=size, fps=fps, delivery=delivery)
    fields = msgspec.to_builtins(spec)

    async def give_up() -> None:
        if existing is None:
            await take_away(f"stream {stream}", lambda: client.stop_stream(stream))

    try:
        await client.start_stream(fields.pop("stream"), fields.pop("source"), **fields)
    except BaseException as error:
        # Not where it is refused, as somebody else may have the name. But an answer may be lost, or tell what fails.
        refused = isinstance(error, MeshError) and not isinstance(error, Unavailable) and not error.reply
        if not refused:
            await give_up()
        raise
    try:
        yield
    finally:
        await give_up()
