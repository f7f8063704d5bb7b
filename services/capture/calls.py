"""From a source's thread to the event loop."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import ParamSpec

_P = ParamSpec("_P")


class Calls:
    """Brings what a thread tells to the event loop, until nobody hears it any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.heard = True

    def bring(self, work: Callable[_P, None]) -> Callable[_P, None]:
        def here(*args: _P.args, **kwargs: _P.kwargs) -> None:
            if self.heard:
                work(*args, **kwargs)

        def there(*args: _P.args, **kwargs: _P.kwargs) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
                self._loop.call_soon_threadsafe(partial(here, *args, **kwargs))

        return there
