"""Demand that goes with its stream: from node to node, and away when the stream is removed."""

from collections.abc import Callable

from schemas.errors import NotFound, Unavailable
from schemas.resources import StreamActual, StreamSpec
from schemas.subjects import state_key
from shared.demand import Wants
from shared.desired import Desired
from shared.state import StateMirrors

_OWNER = "capture"


class StreamDemand:
    """Shows that one rendition is needed on the node that has its stream, until closed or the stream is removed."""

    def __init__(self, mirrors: StateMirrors, wants: Wants, *, stream: str, rendition: str, consumer: str) -> None:
        """Raises:
        NotFound: no such stream.
        Unavailable: it is on no node.
        """
        self._mirrors, self._wants = mirrors, wants
        self._stream, self._rendition, self._consumer = stream, rendition, consumer
        self._streams = Desired(_OWNER, StreamSpec, StreamActual, mirrors)
        found = self._streams.spec(stream)
        if found is None:
            raise NotFound(f"stream {stream!r} does not exist; `framemesh status` lists those that do")
        if found[0].node is None:
            raise Unavailable(f"stream {stream!r} is on no node yet; try again in a moment")
        self._node = found[0].node
        self.removed = False
        self._on_removed: Callable[[], None] | None = None
        self._stop_wanting = wants.want(self._node, stream, rendition, consumer)
        self._stop_following: Callable[[], None] | None = mirrors.on_desired(self._follow)

    def on_removed(self, removed: Callable[[], None]) -> None:
        """Call `removed` once the stream is; at once when it is already."""
        self._on_removed = removed
        if self.removed:
            removed()

    def close(self) -> None:
        if self._stop_following is not None:
            self._stop_following()
            self._stop_following = None
        self._stop_wanting()

    def _follow(self) -> None:
        if state_key(_OWNER, self._stream) not in self._mirrors.desired.entries:
            self.close()
            self.removed = True
            if self._on_removed is not None:
                self._on_removed()
            return
        found = self._streams.spec(self._stream)
        if found is None or found[0].node in (None, self._node):  # None: written by somebody we do not understand
            return
        self._node = found[0].node or ""
        stop_wanting_there = self._stop_wanting
        self._stop_wanting = self._wants.want(self._node, self._stream, self._rendition, self._consumer)
        stop_wanting_there()
