"""Who opened which session: nobody else ends it, though others may know its address."""

from collections import OrderedDict

MAX_OWNERS = 10_000  # as many as `max_sessions` can be


class SessionOwners:
    """Identity by the path of a session; the oldest is forgotten first, and its right token alone will do."""

    def __init__(self, most: int = MAX_OWNERS) -> None:
        self._most = most
        self._by_path: OrderedDict[str, str] = OrderedDict()

    def opened(self, path: str, identity: str) -> None:
        self._by_path[path] = identity
        if len(self._by_path) > self._most:
            self._by_path.popitem(last=False)

    def closed(self, path: str) -> None:
        self._by_path.pop(path, None)

    def of(self, path: str) -> str | None:
        return self._by_path.get(path)
