"""A job with all of its pictures, which come from the mesh in parts."""

import msgspec

from schemas.extraction import JobReply, PollJob
from schemas.subjects import command
from shared.bus import Bus

_POLL = command("frame-extractor", "poll")


async def poll_all(bus: Bus, request: PollJob) -> JobReply:
    """Raises: MeshError: there is no such job, or nobody answers."""
    reply = await bus.request(_POLL, request, JobReply)
    frames = list(reply.frames)
    while reply.more and reply.frames:
        reply = await bus.request(_POLL, msgspec.structs.replace(request, first=len(frames)), JobReply)
        frames += reply.frames
    return msgspec.structs.replace(reply, frames=tuple(frames))
