"""Which renditions an output can have."""

from schemas.errors import NotFound
from schemas.ids import Id, compound_id
from schemas.resources import RenditionActual, RenditionSpec, StreamActual
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION
from shared.desired import Desired
from shared.state import StateMirrors


async def check_rendition(mirrors: StateMirrors, stream: Id, rendition: Id, source: StreamActual | None) -> None:
    """Refuse a rendition that nobody will ever make: the output would wait for it without a word.

    `source`: the stream's state, when it is known.

    Raises:
        NotFound: names it, and the command that makes it.
    """
    if rendition == SOURCE_RENDITION:
        if source and source.state == "live" and source.video and not source.source_tracks:
            raise NotFound(f"{stream} has no packets of its own that can be carried; use rendition main")
    elif rendition != DEFAULT_RENDITION:
        renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)
        if await renditions.find(compound_id(stream, rendition)) is None:
            raise NotFound(f"{stream} has no rendition {rendition!r}; make it first with hw-encode.start")
