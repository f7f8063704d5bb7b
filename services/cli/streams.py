"""Looking a stream up, so that a wrong name is told as one."""

from schemas.commands import ListResources, StreamEntry, StreamList
from schemas.errors import NotFound
from schemas.ids import check_id
from schemas.subjects import command
from shared.bus import Bus

_REPLY_SECONDS = 3.0  # of a list that any capture has at hand


async def find_stream(bus: Bus, stream: str) -> StreamEntry:
    """The stream as it was asked for and as it is.

    Raises:
        InvalidValue: that is no name.
        NotFound: there is none of that name.
        Unavailable: no capture answers.
    """
    request = ListResources(stream=check_id(stream, "stream"))
    listed = await bus.request(command("capture", "list"), request, StreamList, _REPLY_SECONDS)
    if not listed.streams:
        raise NotFound(f"{stream!r} does not exist; framemesh status shows what does")
    return listed.streams[0]
