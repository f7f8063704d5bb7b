"""Control files: a text written to a file that a device or its driver reads."""

import asyncio
import errno
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from schemas.errors import BadRequest
from schemas.signal_resources import SignalSpec
from services.io_signal.hand.drivers.base import DeviceError, Limits, no_texts, to_bytes
from services.io_signal.patterns import Pattern
from services.io_signal.signals.addresses import file_address

_SETTING: Final = "FRAMEMESH_IO_SIGNAL_FILE_ROOTS"
_FOLDER_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Never made: a file where a device was would take texts that nobody reads. A pipe without a reader is told of at once.
_FILE_FLAGS: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class ControlFileOutput:
    """See `OutputDriver`. The file is opened for each text: a driver that was loaded again has another one there."""

    def __init__(self, spec: SignalSpec, limits: Limits) -> None:
        self._path, self._roots = file_address(spec.address, "address").path, limits.file_roots
        # A thread of its own: a driver that hangs holds no other device up.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"file {spec.signal}")

    async def open(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, check, self._path, self._roots)

    async def set(self, on: bool, text: str) -> int:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, write, self._path, self._roots, to_bytes(text))

    async def send(self, text: str, reply: Pattern | None) -> str:
        raise no_texts(self._path)

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def check(path: str, roots: tuple[Path, ...]) -> None:
    """Raises:
    BadRequest: it is not under a folder that is allowed.
    DeviceError: it cannot be written.
    """
    os.close(_open(path, roots))


def write(path: str, roots: tuple[Path, ...], data: bytes) -> int:
    """Write all of `data`; of a plain file it becomes the content. CLOCK_REALTIME in ns right after. Blocks.

    Raises:
        BadRequest: it is not under a folder that is allowed.
        DeviceError: it cannot be written.
    """
    handle = _open(path, roots)
    try:
        plain = stat.S_ISREG(os.fstat(handle).st_mode)
        written = os.write(handle, data)
        edge_ns = time.time_ns()
        if plain:
            os.ftruncate(handle, written)  # afterwards: who reads it never finds it empty
        if written < len(data):
            raise DeviceError(f"{path} took {written} of {len(data)} bytes")
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)
    return edge_ns


def _open(path: str, roots: tuple[Path, ...]) -> int:
    """Open it by way of folders that are no links: what is checked is what is opened."""
    if not roots:
        raise BadRequest(f"{path}: no control file is allowed; name their folders in {_SETTING}")
    try:
        real = Path(os.path.realpath(path, strict=True))
        root = next((found for one in roots if real.is_relative_to(found := Path(os.path.realpath(one)))), None)
        if root is None or real == root:
            allowed = ", ".join(map(str, roots))
            raise BadRequest(f"{path} is not under {allowed}; name its folder in {_SETTING}")
        folder = os.open(root, _FOLDER_FLAGS)
        try:
            *folders, name = real.relative_to(root).parts
            for part in folders:
                inner = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
                os.close(folder)
                folder = inner
            handle = os.open(name, _FILE_FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        why = {
            errno.ENXIO: "nobody reads this pipe",
            errno.ENOENT: "there is no such file; it is never made here",
            errno.EISDIR: "is a folder",
        }.get(error.errno or 0, error.strerror)
        raise DeviceError(f"{path}: {why}") from None
    if stat.S_ISBLK(os.fstat(handle).st_mode):  # a disk is nobody's control file
        os.close(handle)
        raise BadRequest(f"{path} is a disk; give a control file")
    return handle
