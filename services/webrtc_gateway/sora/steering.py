"""Keeps one viewer at the rendition that is wanted for it: one move at a time, and the newest wish wins."""

import asyncio
import logging
from collections.abc import Callable

from schemas.errors import MeshError
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.viewer import Viewer

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 2.0  # after a layer that is announced and does not come


class Steering:
    """Of one viewer, from its beginning to its end."""

    def __init__(self, viewers: WhepGateway, viewer: Viewer, switched: Callable[[str, str], None]) -> None:
        """`switched` is told the rendition before and after each move."""
        self.viewer = viewer
        self._viewers, self._switched = viewers, switched
        self._wanted = viewer.rendition
        self._task: asyncio.Task[None] | None = None

    def want(self, rendition: str | None) -> None:
        """Have it get the pictures of a rendition; None: none, and sound alone."""
        if rendition is None:
            self._stop()
            self.viewer.withhold_pictures(True)
        elif self._task is None or rendition != self._wanted:
            self._stop()
            self._wanted = rendition
            if rendition == self.viewer.rendition or self.viewer.refused is not None:
                self.viewer.withhold_pictures(False)  # who cannot take its layers gets all of the stream, or nothing
            else:
                self._task = asyncio.create_task(self._go(rendition), name="steering")
                self._task.add_done_callback(_ended)

    def close(self) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _go(self, rendition: str) -> None:
        viewer, before = self.viewer, self.viewer.rendition
        level = logging.INFO
        while viewer.state != "closed":
            try:
                await self._viewers.move(viewer, rendition)
                break
            except MeshError as error:
                about = viewer.session[:8], viewer.feed.stream, before, error
                logger.log(level, "session %s of %s stays at %s: %s", *about)
                level = logging.DEBUG  # it may go on like this for hours
            # Pictures of the layer before are better than none.
            viewer.withhold_pictures(False)
            await asyncio.sleep(_AGAIN_SECONDS)  # that a layer comes back is told by nobody
        viewer.withhold_pictures(False)
        self._task = None
        if viewer.rendition == rendition:
            self._switched(before, rendition)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a viewer keeps the layer that it has", exc_info=error)
