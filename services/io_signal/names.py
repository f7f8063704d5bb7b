"""Outputs and inputs share their names: what happens to one of them is told by its name alone."""

from typing import Final

from schemas.errors import Conflict
from schemas.signal_resources import INPUT_STATES, SIGNAL_STATES
from schemas.subjects import state_key
from shared.state import StateMirrors

_KINDS: Final = {SIGNAL_STATES: "a signal", INPUT_STATES: "an input"}


def check_name(mirrors: StateMirrors, states: str, name: str) -> None:
    """`states`: how the keys of its kind begin.

    Raises:
        Conflict: one of the other kind has the name.
    """
    for other, what in _KINDS.items():
        if other != states and state_key(other, name) in mirrors.desired.entries:
            raise Conflict(f"{what} is called {name!r} already, and its events would be mixed up; choose another name")
