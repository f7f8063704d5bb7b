"""Asking a device something: its driver may never return, so each call has a thread of its own and a deadline.

Not the event loop's threads: a camera that hangs a few times would have them all, and with them every other stream's.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from schemas.errors import Unavailable

AnswerT = TypeVar("AnswerT")

DEVICE_SECONDS = 6.0  # what a source may take (5 s), and a little
# Several people may move a camera at once; more than that hang, and more of them heal nothing.
MAX_CALLS_OF_STREAM = 8
MAX_CALLS = 64  # of all streams

_under_way: Counter[str] = Counter()  # of the process, as the threads are
_lock = threading.Lock()


async def ask_device(stream: str, work: Callable[[], AnswerT]) -> AnswerT:
    """What `work` returns, in a thread that is left behind when it takes too long.

    Raises:
        Unavailable: no answer in time, or too many earlier calls have none yet.
        MeshError: what `work` raises.
    """
    _begin(stream)
    answer: Future[AnswerT] = Future()
    answer.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # whatever it is, it belongs to whoever asked
            _end(stream)
            answer.set_exception(error)
        else:
            _end(stream)
            answer.set_result(result)

    threading.Thread(target=run, name=f"ask device {stream}", daemon=True).start()
    try:
        async with asyncio.timeout(DEVICE_SECONDS):
            return await asyncio.wrap_future(answer)
    except TimeoutError:
        raise Unavailable(f"{stream}: the camera has not answered within {DEVICE_SECONDS:g} s") from None


def _begin(stream: str) -> None:
    with _lock:
        if _under_way[stream] >= MAX_CALLS_OF_STREAM or _under_way.total() >= MAX_CALLS:
            raise Unavailable(
                f"{stream}: {_under_way[stream]} calls to the camera have no answer yet, {_under_way.total()} to all "
                f"cameras; look at the device, then restart capture"
            )
        _under_way[stream] += 1


def _end(stream: str) -> None:
    with _lock:
        _under_way[stream] -= 1
        if not _under_way[stream]:
            del _under_way[stream]
