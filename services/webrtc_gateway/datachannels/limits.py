"""How much data channels of one session may take."""

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 256 * 1024
"""Told in the answer (`a=max-message-size`); what Chromium and aiortc take as well."""
MAX_LABEL_BYTES = 128


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Of one session."""

    channels: int = 16  # open at once; a page needs one a bridge
    buffered_bytes: int = 1024 * 1024  # not yet on the wire, of all channels: a second at 8 Mbit/s
    buffered_messages: int = 1024  # as above; small messages cost more than their bytes
    message_bytes: int = MAX_MESSAGE_BYTES
