"""What is said of gateways that do not answer."""

import sys
from collections.abc import Sequence


def tell_unanswered(unanswered: Sequence[str], so: str) -> None:
    """On stderr: the list itself may be read by a program."""
    if unanswered:
        print(f"no answer from the gateway on {', '.join(unanswered)}: {so}", file=sys.stderr)
