"""Who may use a bridge: the one place that is asked."""

from collections.abc import Callable
from dataclasses import dataclass

from services.webrtc_gateway.datachannels.bridge import Bridge


@dataclass(frozen=True, slots=True)
class Rights:
    """What the token of a session's viewer allows; without any, nothing."""

    control: bool = False
    """To say something on the bus."""
    all_streams: bool = False
    """To hear of streams besides its own."""


NO_RIGHTS = Rights()
Gate = Callable[[Rights, Bridge], bool]


def may_use(rights: Rights, bridge: Bridge) -> bool:
    """Whether a session with these rights may open the channel of a bridge.

    A subject without `{stream}` may tell of any stream, so only who may see them all hears it.
    """
    if bridge.from_viewer and not rights.control:
        return False
    return rights.all_streams or bridge.of_one_stream
