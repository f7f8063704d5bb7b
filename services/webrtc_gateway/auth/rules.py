"""What each route needs. A route that is not in this table needs everything: forgotten is shut."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from aiohttp import web

from schemas.tokens import Action

Kind = Literal["", "session", "command"]
"""Which limit on its rate holds; of sessions the POST that opens one."""


@dataclass(frozen=True)
class Rule:
    """What a route needs."""

    action: Action | None = "control"
    """None: any token will do; the route asks itself for more."""
    streams: Literal["none", "named", "some", "all"] = "all"
    """`named`: the one in the path; `some`: whichever the token is for, the route leaves out the others."""
    open: bool = False
    """No token is needed."""
    kind: Kind = ""


_OPEN = Rule(None, "none", open=True)
_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        # By the first word of the route's pattern, and by the first two below /api.
        "": _OPEN,
        "console": _OPEN,
        "whep": Rule("view", "named", kind="session"),
        "whip": Rule("publish", "named", kind="session"),
        "hls": Rule("view", "named"),
        # As often as a player seeks; how many at once the route bounds.
        "recordings": Rule("view", "named"),
        "frame": Rule("view", "named", kind="command"),
        # Jobs are of no stream. As many as a page shows; how many at once the route bounds.
        "pictures": Rule("view", "all"),
        # The token comes in the first message: see `auth.guard.Guard.admit_within`.
        "signaling": _OPEN,
        "api/status": Rule("view", "some"),
        "api/events": Rule("view", "some"),
        "api/cmd": Rule(None, "none", kind="command"),
        "api/login": Rule(None, "none"),
        "api/logout": _OPEN,
    }
)
_EVERYTHING = Rule()


def rule_of(request: web.Request) -> Rule:
    """The rule of the route that was found; by its pattern, so that no spelling of the path can choose another."""
    if request.method == "OPTIONS" and "Authorization" not in request.headers:
        return _OPEN  # browsers ask without credentials first, and that answer is the same for all
    route = request.match_info.route
    if route.resource is None:
        return Rule(None, "none")  # 404 and 405, for whoever is known
    words = route.resource.canonical.strip("/").split("/")
    key = "/".join(words[:2]) if words[0] == "api" else words[0]
    rule = _RULES.get(key, _EVERYTHING)
    return rule if rule.streams != "named" or "stream" in request.match_info else _EVERYTHING
