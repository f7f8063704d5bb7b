"""Who may use a bridge: the one place that is asked."""

from collections.abc import Callable

from services.webrtc_gateway.datachannels.bridge import Bridge

Gate = Callable[[str, str, Bridge], bool]
"""Of a session, its stream and the bridge of the channel that it opens: whether it may."""


def everyone(session: str, stream: str, bridge: Bridge) -> bool:
    """Whoever may view a stream may use its bridges; what those may carry the operator has said."""
    return True
