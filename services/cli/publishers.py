"""Finding the publishers of the mesh, and the one that has a file."""

from schemas.errors import MeshError, NotFound, Unavailable
from schemas.recordings import FetchFile, FilePart
from schemas.subjects import command
from shared.bus import Bus
from shared.state import StateMirrors

_PART_SECONDS = 10.0  # of a disk that has to wake up


async def publisher_nodes(bus: Bus) -> list[str]:
    """The nodes that a publisher runs on.

    Raises:
        Unavailable: on none.
    """
    mirrors = await StateMirrors.open(bus)
    try:
        nodes = [presence.node for presence in mirrors.present("publisher")]
    finally:
        await mirrors.close()
    if not nodes:
        raise Unavailable("publisher runs on no node; framemesh status shows what runs")
    return nodes


async def read_part(bus: Bus, node: str, request: FetchFile) -> FilePart:
    """A part of a recorded file of a node.

    Raises:
        MeshError: the publisher's own.
    """
    return await bus.request(command("publisher", "fetch", node), request, FilePart, _PART_SECONDS)


async def node_of_file(bus: Bus, file: str) -> str:
    """The node that has this recording.

    Raises:
        NotFound: none has.
        Unavailable: none answers.
    """
    missing: MeshError | None = None
    for node in await publisher_nodes(bus):
        try:
            await read_part(bus, node, FetchFile(file=file, size=1))
        except NotFound as error:
            missing = missing or error
        else:
            return node
    raise missing or NotFound(f"no node has a recording {file!r}")
