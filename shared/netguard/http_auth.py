"""Answers to HTTP's demand for a user name and password: Basic (RFC 7617) and Digest (RFC 7616)."""

import base64
from collections.abc import Iterable
from urllib.parse import unquote
from urllib.request import (
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    Request,
    parse_http_list,
    parse_keqv_list,
)

from schemas.errors import Unavailable
from shared.netguard.url import GuardedUrl


def pick_challenge(challenges: Iterable[str]) -> str:
    """The strongest of the WWW-Authenticate headers that we can answer; Basic when there is none."""
    return max(challenges, key=lambda text: text.lower().startswith("digest"), default="Basic")


def authorization(guarded: GuardedUrl, credentials: GuardedUrl, challenge: str, method: str = "GET") -> dict[str, str]:
    """The header that answers `challenge` for `guarded`; none without a challenge or for another origin.

    Raises:
        Unavailable: the challenge cannot be answered.
    """
    if guarded.username is not None:  # a redirect or playlist entry with credentials of its own
        credentials = guarded
    origin = (guarded.scheme, guarded.host, guarded.port)
    if not challenge or credentials.username is None:
        return {}
    if origin != (credentials.scheme, credentials.host, credentials.port):
        return {}
    user, password = unquote(credentials.username), unquote(credentials.password or "")
    kind, _, parameters = challenge.partition(" ")
    if kind.lower() == "basic":
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    url = guarded.at(guarded.host, userinfo=False)
    passwords = HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, user, password)  # None: any realm
    request = Request(url, method=method)  # noqa: S310 - never opened; only the header is computed for it
    try:
        fields = parse_keqv_list([part for part in parse_http_list(parameters) if part])
        answer = HTTPDigestAuthHandler(passwords).get_authorization(request, fields)
    except ValueError:
        answer = None
    if kind.lower() != "digest" or not answer:
        raise Unavailable(f"{credentials.shown!r}: the server asks for {kind[:20]!r} credentials of an unknown kind")
    return {"Authorization": f"Digest {answer}"}
