"""Where a task's outputs go: an address as the API has it, made a URL."""

from typing import Final

from schemas.errors import InvalidValue
from shared.netguard import Policy, check_form
from shared.urls import redact

_APPLICATION: Final = "live"
"""Of a host that comes without one; what most servers have."""
_PUBLIC_SCHEMES: Final = frozenset(("rtmp", "rtmps", "srt", "rtsp", "rtsps"))
_ALL_SCHEMES: Final = _PUBLIC_SCHEMES | {"file", "udp", "http", "https"}


def push_url(address: str, task: str, field: str, public_only: bool) -> str:
    """The URL of one output.

    `push.example.com` is rtmp://push.example.com/live/<task>; an application alone gets the task for its stream key.

    Raises:
        InvalidValue: names `field`; this can be no address to push to.
    """
    url = address.strip()
    if "://" not in url:
        host, _, path = url.partition("/")
        parts = [part for part in path.split("/") if part] or [_APPLICATION]
        url = f"rtmp://{host}/{'/'.join(parts if len(parts) > 1 else [*parts, task])}"
    scheme = url.partition("://")[0].lower()
    schemes = _PUBLIC_SCHEMES if public_only else _ALL_SCHEMES
    if scheme not in schemes:
        names = ", ".join(f"{name}://" for name in sorted(schemes))
        raise InvalidValue(field, redact(url, stream_key=True)[0], f"outputs go to {names}, or to a host alone")
    if scheme != "file":  # which names a file to come, under folders that the publisher knows
        check_form(url, Policy(schemes=schemes), field)
    return url


def shown(address: str) -> str:
    """An address as it may be seen: without password, stream key or token."""
    if "://" in address:
        return redact(address, stream_key=True)[0]
    return redact(f"rtmp://{address}", stream_key=True)[0].removeprefix("rtmp://")
