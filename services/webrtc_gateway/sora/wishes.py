"""Which layer of each stream a client gets: what it asks for, what the spotlight says, or the best there is."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from schemas.errors import InvalidValue
from services.webrtc_gateway.sora.client_messages import Connect

Rid = Literal["r0", "r1", "r2"]
WantedRid = Literal["none", "r0", "r1", "r2"]
"""`none`: sound alone."""
RIDS: tuple[Rid, ...] = get_args(Rid)  # the smallest first
MAX_SPOTLIGHT = 8  # as many streams as a client gets at all
_DEFAULT_SPOTLIGHT = 5  # the vendor's
_DEFAULT_FOCUS: WantedRid = "r1"
_DEFAULT_UNFOCUS: WantedRid = "r0"
_MAX_ASKED = 64  # senders that a client may ask for one by one; more than it can get


@dataclass
class Wishes:
    """Of one client."""

    rid: WantedRid | None = None
    """Of everything; None: the best."""
    spotlight: bool = False
    number: int = _DEFAULT_SPOTLIGHT
    focus_rid: WantedRid = _DEFAULT_FOCUS
    unfocus_rid: WantedRid = _DEFAULT_UNFOCUS
    focused: frozenset[str] = frozenset()
    """Keys of sources that are in its spotlight."""
    asked: dict[str, WantedRid] = field(default_factory=dict)
    """By a command, for the source of that key, or for all under ``""``: comes before all else."""

    def of(self, source: str) -> WantedRid | None:
        """The layer of one source; None: the best."""
        asked = self.asked.get(source) or self.asked.get("")
        if asked is not None:
            return asked
        if self.spotlight:
            return self.focus_rid if source in self.focused else self.unfocus_rid
        return self.rid

    def ask(self, rid: WantedRid | None, source: str = "") -> None:
        """Take a wish from elsewhere, for one source or for all; None takes it back. The oldest is forgotten where they
        are too many."""
        if not source:
            self.asked.clear()
        self.asked.pop(source, None)
        if rid is not None:
            self.asked[source] = rid
        if len(self.asked) > _MAX_ASKED:  # senders come and go, and this one is not told
            del self.asked[next(key for key in self.asked if key)]


def read_wishes(connect: Connect) -> Wishes:
    """Those of a first message.

    Raises:
        InvalidValue: names the field that is wrong.
    """
    rid = _rid("simulcast_rid", connect.simulcast_rid)
    rid = _rid("simulcast_request_rid", connect.simulcast_request_rid) or rid
    number = connect.spotlight_number
    if number is None:
        number = _DEFAULT_SPOTLIGHT
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_SPOTLIGHT:
        raise InvalidValue("spotlight_number", _shown(number), f"give 1 to {MAX_SPOTLIGHT}")
    if connect.spotlight not in (None, True, False):
        raise InvalidValue("spotlight", _shown(connect.spotlight), "give true or false")
    return Wishes(
        rid=rid,
        spotlight=bool(connect.spotlight),
        number=number,
        focus_rid=_rid("spotlight_focus_rid", connect.spotlight_focus_rid) or _DEFAULT_FOCUS,
        unfocus_rid=_rid("spotlight_unfocus_rid", connect.spotlight_unfocus_rid) or _DEFAULT_UNFOCUS,
    )


def _rid(name: str, value: object) -> WantedRid | None:
    if value is None:
        return None
    if value not in get_args(WantedRid):
        raise InvalidValue(name, _shown(value), f"give {', '.join(get_args(WantedRid))}")
    return cast(WantedRid, value)


def _shown(value: object) -> str:
    return str(value)[:20]  # it goes into the reason of a close frame


def nearest(wanted: Rid, there: Collection[str]) -> Rid | None:
    """The layer that comes nearest to the one that is wanted, rather below it than above; None: there is none."""
    at = RIDS.index(wanted)
    below = [rid for rid in RIDS[: at + 1] if rid in there]
    above = [rid for rid in RIDS[at:] if rid in there]
    return below[-1] if below else above[0] if above else None
