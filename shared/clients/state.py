"""Looking up the mesh's state, and telling from it why no pictures come."""

from schemas.commands import MeshStatus, StreamEntry
from schemas.errors import MeshError
from shared.bus import Bus
from shared.clients.errors import NoFrames, NoSuchStream, OtherNode
from shared.settings import Settings
from shared.state import StateMirrors
from shared.status import mesh_status


async def snapshot(bus: Bus) -> MeshStatus:
    """The whole mesh as it is at this moment.

    Raises:
        Unavailable: the bus does not answer.
    """
    mirrors = await StateMirrors.open(bus)
    try:
        return mesh_status(mirrors)
    finally:
        await mirrors.close()


def find_stream(status: MeshStatus, stream: str) -> StreamEntry | None:
    return next((entry for entry in status.streams if entry.spec.stream == stream), None)


async def explain_no_frames(
    bus: Bus, settings: Settings, stream: str, waited_seconds: float, last_problem: str
) -> MeshError:
    """Why no picture of `stream` has come, as the error to raise.

    Args:
        last_problem: why the last reference could not be used; empty when none came.
    """
    if not bus.connected:
        return NoFrames(stream, waited_seconds, "the bus is away; it is looked for all the time")
    try:
        status = await snapshot(bus)
    except MeshError as error:
        return NoFrames(stream, waited_seconds, error.message)
    entry = find_stream(status, stream)
    if entry is None:
        return NoSuchStream(stream, tuple(found.spec.stream for found in status.streams))
    if entry.spec.node != settings.node:
        return OtherNode(stream, entry.spec.node or "", settings.node)
    return NoFrames(stream, waited_seconds, _why(status, entry, settings, last_problem))


def _why(status: MeshStatus, entry: StreamEntry, settings: Settings, last_problem: str) -> str:
    node, actual = settings.node, entry.actual
    capture = next((found for found in status.services if found.service == "capture" and found.node == node), None)
    if capture is not None and capture.shm_domain != str(settings.shm_dir):
        return (
            f"capture keeps its rings in {capture.shm_domain}, this application looks in {settings.shm_dir}; "
            f"set FRAMEMESH_SHM_DIR={capture.shm_domain}"
        )
    if last_problem:
        return last_problem
    if entry.spec.source.startswith("app:"):
        return "its source is an application, and none writes it now"
    if capture is None:
        return f"capture does not run on node {node!r}"
    if actual is None:
        return "capture has not taken it up yet"
    if actual.error is not None:
        return f"it is {actual.state}: {actual.error.message}"
    return f"it is {actual.state}, and capture {'writes pictures' if actual.decoding else 'writes none'}"
