"""Renditions that exist without a command: `main` of every stream, and those named after a codec while wanted."""

import asyncio
from collections.abc import Callable, Collection

from schemas.encoding import CODEC_RENDITIONS
from schemas.ids import compound_id
from schemas.resources import RenditionSpec
from schemas.subjects import DEFAULT_RENDITION

Wanted = Callable[[str, str], bool]
"""(stream, rendition): somebody needs it now."""


class OnDemand:
    """`main` costs nothing while nobody wants it. One per codec and stream would: those come with the first who wants
    them, and go a while after the last, as encoders do that are no longer wanted."""

    def __init__(self, linger_seconds: float, changed: Callable[[], None]) -> None:
        """`changed` is called when `specs` gives something else than before."""
        self._linger_seconds, self._changed = linger_seconds, changed
        self._kept: dict[str, asyncio.TimerHandle | None] = {}
        """By id; with a timer while nobody wants it."""

    def specs(self, streams: Collection[str], node: str) -> dict[str, RenditionSpec]:
        """What shall be there besides what was asked for, by id."""
        found: dict[str, RenditionSpec] = {}
        for stream in streams:
            found[compound_id(stream, DEFAULT_RENDITION)] = RenditionSpec(stream=stream, node=node)
            for codec in CODEC_RENDITIONS:
                if (rendition_id := compound_id(stream, codec)) in self._kept:
                    found[rendition_id] = RenditionSpec(stream=stream, rendition=codec, codec=codec, node=node)
        return found

    def demand_changed(self, streams: Collection[str], wanted: Wanted) -> None:
        """Note who is wanted now."""
        before = set(self._kept)
        now = {compound_id(stream, codec) for stream in streams for codec in CODEC_RENDITIONS if wanted(stream, codec)}
        for rendition_id in now | before:
            timer = self._kept.get(rendition_id)
            if rendition_id in now:
                if timer is not None:
                    timer.cancel()
                self._kept[rendition_id] = None
            elif timer is None:
                loop = asyncio.get_running_loop()
                self._kept[rendition_id] = loop.call_later(self._linger_seconds, self._drop, rendition_id)
        if now - before:
            self._changed()

    def close(self) -> None:
        for timer in self._kept.values():
            if timer is not None:
                timer.cancel()

    def _drop(self, rendition_id: str) -> None:
        del self._kept[rendition_id]
        self._changed()
