"""Which of a viewer's requests for a key frame are passed on.

A key frame is made for all viewers of a rendition and costs all of them bits: one whose line loses every other packet
asks for one after the other, and must not make the pictures of the others worse.
"""

from dataclasses import dataclass

_FIRST_WAIT_SECONDS = 0.3  # as often as one rendition's key frames are asked for at all
_MAX_WAIT_SECONDS = 2.0  # the usual distance of key frames: one comes by itself
_FORGIVEN_AFTER_SECONDS = 10.0  # without a request


@dataclass(slots=True)
class KeyRequests:
    """Each request so soon after another doubles the wait until one is passed on."""

    _wait_s: float = 0.0
    _passed_s: float = float("-inf")
    _asked_s: float = float("-inf")

    def passes(self, now_s: float) -> bool:
        """Whether this one does."""
        if now_s - self._asked_s > _FORGIVEN_AFTER_SECONDS:
            self._wait_s = 0.0
        self._asked_s = now_s
        if now_s - self._passed_s < self._wait_s:
            return False
        self._passed_s = now_s
        self._wait_s = min(max(self._wait_s * 2, _FIRST_WAIT_SECONDS), _MAX_WAIT_SECONDS)
        return True
