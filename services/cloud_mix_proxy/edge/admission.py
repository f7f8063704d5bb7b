"""Who is let in: whose key has signed, and how often they come."""

import re
from collections import Counter
from typing import Final

from aiohttp import web

from services.cloud_mix_proxy.edge.keys import LOCAL_OWNER, AccessKeys
from services.cloud_mix_proxy.edge.refusal import TOO_MANY, Refusal
from services.cloud_mix_proxy.edge.signature import Request, Signer, verify
from shared.door.clients import Clients, asks_this_machine
from shared.door.rates import Buckets

REQUESTS_PER_SECOND: Final = 10.0
"""Of the document, for one account and action."""
# Nobody guesses a secret at that rate, and a program that was given a wrong one is told so.
_WRONG_PER_SECOND: Final = 10.0
_WRONG_BURST: Final = 100
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class Admission:
    """Of one door; `keys` is replaced as its file changes, None: whoever is on this machine may come."""

    def __init__(self, keys: AccessKeys | None, clients: Clients, per_second: float = REQUESTS_PER_SECOND) -> None:
        """`per_second` of one owner and action; 0: no limit."""
        self.keys = keys
        self.refused: Counter[str] = Counter()
        """Requests whose signature was no good, by code."""
        self._clients = clients
        self._rates = Buckets(per_second, max(1.0, per_second))
        self._wrong = Buckets(_WRONG_PER_SECOND, _WRONG_BURST)

    def owner(self, request: web.Request, body: bytes, now_s: float | None = None) -> tuple[str, Signer]:
        """Whose key has signed a request.

        Args:
            now_s: seconds since 1970; None: now.

        Raises:
            Refusal: none, or it did not sign this; or too many of these.
        """
        keys = self.keys
        if keys is None and not asks_this_machine(request):
            raise Refusal("AccessDenied", "there are no access keys yet, so only this machine's own name is answered")
        path, query = target_of(request)
        received = Request(request.method, path, query, tuple(request.headers.items()), body)
        try:
            signer = verify(received, None if keys is None else keys.secret, now_s)
        except Refusal as refusal:
            self.refused[refusal.code] += 1
            if wait_s := self._wrong.take(self._clients.address(request)):
                raise Refusal(TOO_MANY, "too many requests with a wrong signature", wait_s) from None
            raise
        return (LOCAL_OWNER if keys is None else keys.owner(signer.access_key)), signer

    def take(self, owner: str, action: str, now_s: float | None = None) -> None:
        """Count a request. `now_s`: of the monotonic clock.

        Raises:
            Refusal: there were too many just now; costs nothing.
        """
        if wait_s := self._rates.take(f"{action} {owner}", now_s):
            raise Refusal(TOO_MANY, f"too many calls of {action}; try again in {wait_s} s", wait_s)


def target_of(request: web.Request) -> tuple[str, str]:
    """(path, query) of a request as they were received; of the absolute form too (RFC 9112 section 3.2.2)."""
    target = request.raw_path
    if absolute := _ABSOLUTE.match(target):
        target = f"{'' if target[absolute.end() :].startswith('/') else '/'}{target[absolute.end() :]}"
    path, _, query = target.partition("?")
    return path, query
