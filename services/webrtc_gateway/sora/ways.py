"""How one client is told things: over its WebSocket, and over data channels once it has switched."""

import asyncio
from collections import deque

from services.webrtc_gateway.sora.data_line import DataLine
from services.webrtc_gateway.sora.labels import NOTIFY, PUSH, SIGNALING, STATS
from services.webrtc_gateway.sora.messages import ToClient, write

_MAX_UNSENT = 256  # messages; a client that reads none of so many is hopeless
# By the message's type; the others, as `ping`, are the WebSocket's alone.
_LABELS = {
    "re-offer": SIGNALING,
    "close": SIGNALING,
    "notify": NOTIFY,
    "push": PUSH,
    "req-stats": STATS,
}


class Ways:
    """The socket's writer takes `unsent` and waits for `has_unsent`."""

    def __init__(self, line: DataLine | None) -> None:
        self._line = line
        self.switched = False
        """To data channels."""
        self.has_socket = True
        self.unsent: deque[str] = deque()
        self.has_unsent = asyncio.Event()

    def say(self, message: ToClient) -> bool:
        """Send or queue it; False: the client takes nothing any more."""
        label = _LABELS.get(str(message.__struct_config__.tag))
        if self.switched and self._line is not None and label is not None:
            return self._line.say(label, write(message).encode())
        if not self.has_socket:
            return True
        if len(self.unsent) >= _MAX_UNSENT:
            return False
        self.unsent.append(write(message))
        self.has_unsent.set()
        return True
