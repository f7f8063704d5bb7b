"""Answers to HTTP's demand for a user name and password: Basic (RFC 7617) and Digest (RFC 7616)."""

import base64
import hashlib
from collections.abc import Callable, Iterable
from urllib.error import URLError
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

_ALGORITHMS = ("md5", "sha-256")  # the stronger comes later


class _Digest(HTTPDigestAuthHandler):
    """With SHA-256, and with names and passwords beyond ASCII (RFC 7616, 3.3 and 4)."""

    def get_algorithm_impls(self, algorithm: str) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
        if algorithm.lower() not in _ALGORITHMS:
            raise ValueError(algorithm)

        def digest(text: str) -> str:
            name = algorithm.replace("-", "")
            return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


def pick_challenge(challenges: Iterable[str]) -> str:
    """The strongest of the WWW-Authenticate headers that we can answer; Basic when there is none."""
    return max(challenges, key=_strength, default="Basic")


def _strength(challenge: str) -> int:
    kind, _, parameters = challenge.lower().partition(" ")
    if kind != "digest":
        return 0
    algorithm = _parameters(parameters).get("algorithm", "md5")
    return 1 + _ALGORITHMS.index(algorithm) if algorithm in _ALGORITHMS else -1


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
        answer = _Digest(passwords).get_authorization(request, _parameters(parameters))
        (answer or "").encode("latin-1")  # what a header may hold
    except (ValueError, URLError):
        answer = None
    if kind.lower() != "digest" or not answer:
        raise Unavailable(f"{credentials.shown!r}: the server asks for {kind[:20]!r} credentials of an unknown kind")
    return {"Authorization": f"Digest {answer}"}


def _parameters(text: str) -> dict[str, str]:
    fields = parse_keqv_list([part for part in parse_http_list(text) if "=" in part and not part.endswith("=")])
    return {name.lower(): value.replace(" ", "") if name.lower() == "qop" else value for name, value in fields.items()}
