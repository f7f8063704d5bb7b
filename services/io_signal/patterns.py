"""Regular expressions that people give, held against what devices send.

RE2, whose time grows with the length of the text and nothing else: with Python's own module one unlucky pattern and
one long line would stop the process that has all outputs in hand.
"""

from typing import Final, Protocol

import re2

from schemas.errors import InvalidValue

_MOST_MEMORY_BYTES: Final = 1 << 20  # of one pattern, compiled; 256 characters take some KiB


class Found(Protocol):
    """What has matched."""

    def group(self, group: int | str = 0, /) -> str | None: ...


class Pattern(Protocol):
    @property
    def groupindex(self) -> dict[str, int]: ...

    def search(self, text: str, /) -> Found | None: ...


def compile_pattern(text: str, field: str) -> Pattern:
    """A regular expression in RE2's syntax: Python's, without looking around and without back-references.

    Raises:
        InvalidValue: it is none.
    """
    options = re2.Options()
    options.log_errors = False  # the caller is told
    options.max_mem = _MOST_MEMORY_BYTES
    try:
        compiled: Pattern = re2.compile(text, options)
    except re2.error as error:
        reason = (
            error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        )
        fix = f"write a regular expression without look-around and back-references ({reason})"
        raise InvalidValue(field, text, fix) from None
    return compiled
