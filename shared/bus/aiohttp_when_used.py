"""Let the bus's library have its HTTP client when it first uses it, which it does for `ws://` servers alone.

Imported before that library, which would import it at once: a seventh of the start of every process and command.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

_NAMES = ("aiohttp", "multidict")


class _WhenUsed(ModuleType):
    """A module that is imported with the first look at what is in it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def _put_off() -> None:
    present = {name: sys.modules.get(name) for name in _NAMES}
    for name in _NAMES:
        sys.modules[name] = present[name] or _WhenUsed(name)
    try:
        importlib.import_module("nats.aio.transport")  # keeps what it finds here
    finally:
        for name, module in present.items():
            if module is None:  # whoever else imports it gets it as it is
                del sys.modules[name]


_put_off()
