"""The servers of a mesh: one, or those of a cluster, separated by commas."""

import re

from schemas.errors import InvalidValue
from shared.urls import redact

_VARIABLE = "FRAMEMESH_NATS_URL"
# Not at a comma within a password, of which the rest would be shown: what follows is a server of its own only when it
# begins with a scheme, or has no user.
_BETWEEN_SERVERS = re.compile(r",(?=\s*[A-Za-z][A-Za-z0-9+.-]*://|[^@,]*(?:,|$))")
_WEB_SOCKET_SCHEMES = ("ws:", "wss:")


def server_urls(text: str) -> list[str]:
    """The URLs in `text`, in its order: the first that answers is used, the next one when it is lost.

    Raises:
        InvalidValue: there is none, or one is spoken to over web sockets and another is not.
    """
    urls = [url for part in _BETWEEN_SERVERS.split(text) if (url := part.strip())]
    if not urls:
        raise InvalidValue(_VARIABLE, text, "give a server, or several with commas: nats://a:4222,nats://b:4222")
    if len({over_web_sockets(url) for url in urls}) > 1:
        raise InvalidValue(_VARIABLE, shown_servers(text), "give either nats:// or ws:// for all of them")
    return urls


def over_web_sockets(url: str) -> bool:
    return url.startswith(_WEB_SOCKET_SCHEMES)


def shown_servers(text: str) -> str:
    """As `text`, without secrets."""
    return ",".join(redact(part.strip())[0] for part in _BETWEEN_SERVERS.split(text))
