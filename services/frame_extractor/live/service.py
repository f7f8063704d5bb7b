"""The live side of frame-extractor: connects its parts."""

from typing import Any

from services.frame_extractor.live.moments import Moments
from services.frame_extractor.live.samples.service import Samples
from services.frame_extractor.storage import Places
from shared.demand import Wants
from shared.service import VERSION, Context
from shared.state import StateMirrors

_SERVICE = "frame-extractor"


async def serve_live(context: Context[Any], places: Places) -> Moments:
    """Answer for pictures of live streams, and take those that are asked for again and again."""
    mirrors = await StateMirrors.open(context.bus)
    context.stack.push_async_callback(mirrors.close)
    wants = Wants(context.bus)
    context.stack.push_async_callback(wants.close)
    moments = Moments(context.bus, context.node, context.settings.shm_dir, mirrors, wants)
    context.stack.callback(moments.close)
    context.figures.counter(
        "framemesh_frame_extractor_moments",
        "Pictures of a moment, by where they came from.",
        lambda: [({"origin": origin}, float(count)) for origin, count in tuple(moments.taken.items())],
    )
    context.figures.counter(
        "framemesh_frame_extractor_moments_refused",
        "Pictures of a moment that were refused, as too many were under way.",
        lambda: [({}, float(moments.refused))],
    )
    samples = Samples(context, mirrors, moments, places, wants)
    endpoints = moments.endpoints() + samples.endpoints()
    served = await context.bus.serve(_SERVICE, VERSION, "Pictures of live streams.", endpoints)
    context.stack.push_async_callback(served.close)
    return moments
