"""Who is let in: the key that a request bears, how often it came in the last minute, how many it has at once."""

import contextlib
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from services.frame_extractor.las.failures import API_KEY_INVALID, AUTHORIZATION_MISSING, RATE_LIMIT, Refused
from services.frame_extractor.las.keys import ApiKeys
from shared.door.clients import Clients, asks_this_machine
from shared.door.rates import Buckets

REQUESTS_PER_MINUTE: Final = 600
PARALLEL_REQUESTS: Final = 10
"""Both of the document, for one key."""
LOCAL_OWNER: Final = "local"
_MINUTE_SECONDS: Final = 60.0
# Nobody guesses a key at that rate, and a program that was given a wrong one is told so.
_WRONG_PER_SECOND: Final = 10.0
_WRONG_BURST: Final = 100


class Admission:
    """Of one door; `keys` is replaced as its file changes, None: whoever is on this machine may come."""

    def __init__(
        self,
        keys: ApiKeys | None,
        clients: Clients,
        per_minute: int = REQUESTS_PER_MINUTE,
        parallel: int = PARALLEL_REQUESTS,
    ) -> None:
        self.keys = keys
        self._clients, self._per_minute, self._parallel = clients, per_minute, parallel
        self._wrong = Buckets(_WRONG_PER_SECOND, _WRONG_BURST)
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)
        self._running: Counter[str] = Counter()

    def owner(self, request: web.Request, now_s: float | None = None) -> str:
        """Whose key it is.

        Raises:
            Refused: none, a wrong one, or too many wrong ones.
        """
        given = request.headers.getall("Authorization", [])
        scheme, _, key = given[0].strip().partition(" ") if given else ("", "", "")
        if not scheme or (scheme.lower() == "bearer" and not key.strip()):
            raise Refused(AUTHORIZATION_MISSING, "send the header Authorization: Bearer and the key")
        if len(given) > 1:
            raise Refused(API_KEY_INVALID, "more than one header Authorization")
        if scheme.lower() != "bearer":
            raise Refused(API_KEY_INVALID, "write Authorization: Bearer and the key")
        if self.keys is None:
            if not asks_this_machine(request):
                raise Refused(API_KEY_INVALID, "there are no keys yet, so only this machine's own name is answered")
            return LOCAL_OWNER
        name = self.keys.find(key.strip())
        if name is None:
            wait_s = self._wrong.take(self._clients.address(request), now_s)
            raise Refused(RATE_LIMIT, "too many wrong keys", wait_s) if wait_s else Refused(API_KEY_INVALID)
        return name

    @contextlib.contextmanager
    def one(self, owner: str, now_s: float | None = None) -> Iterator[None]:
        """Count a request, for as long as it takes.

        Raises:
            Refused: there were too many in the last minute, or are too many now; costs nothing.
        """
        now_s = time.monotonic() if now_s is None else now_s
        if self._running[owner] >= self._parallel:
            raise Refused(RATE_LIMIT, f"{self._parallel} requests of this key are being answered", 1)
        times = self._times[owner]
        while times and times[0] <= now_s - _MINUTE_SECONDS:
            times.popleft()
        if len(times) >= self._per_minute:
            wait_s = max(1, math.ceil(times[0] + _MINUTE_SECONDS - now_s))
            raise Refused(RATE_LIMIT, f"{self._per_minute} requests a minute for one key", wait_s)
        times.append(now_s)
        self._running[owner] += 1
        try:
            yield
        finally:
            self._running[owner] -= 1
