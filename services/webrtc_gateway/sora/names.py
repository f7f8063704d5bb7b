"""Names that a channel's connections get: 26-character ids, and ids of the streams that they publish."""

import base64
import re
import uuid

from schemas.errors import BadRequest
from schemas.ids import ID_PATTERN
from schemas.sora import MAX_CHANNEL_BYTES

_SUFFIX_CHARACTERS = 8  # 40 random bits
_SLUG_CHARACTERS = 63 - 1 - _SUFFIX_CHARACTERS


def new_connection_id() -> str:
    """26 characters: a random UUID in Base32, as clients count on."""
    return base64.b32encode(uuid.uuid4().bytes).decode().rstrip("=")


def check_channel(channel: str) -> None:
    """Raises:
    BadRequest: what is wrong with it.
    """
    if not channel or len(channel.encode(errors="surrogatepass")) > MAX_CHANNEL_BYTES or not channel.isprintable():
        raise BadRequest(f"channel_id {channel[:32]!r}: use 1-{MAX_CHANNEL_BYTES} bytes of printable text")


def channel_slug(channel: str) -> str:
    """The channel as a part of ids: `Room 1` -> `room-1`."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", channel.lower())[:_SLUG_CHARACTERS].strip("-")
    return cleaned or "channel"


def is_stream_id(channel: str) -> bool:
    """Whether the channel's first publisher may make the stream of that very name."""
    return re.match(ID_PATTERN, channel) is not None


def rights_name(channel: str) -> str:
    """The stream that tokens must be for: that of the channel's name, or what stands for it in ids."""
    return channel if is_stream_id(channel) else channel_slug(channel)


def alias(channel: str, connection_id: str) -> str:
    """The stream of a publisher that cannot have the channel's own name."""
    return f"{channel_slug(channel)}-{connection_id[:_SUFFIX_CHARACTERS].lower()}"
