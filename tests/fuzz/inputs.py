"""What several ways in need: texts of bytes, steps one after the other, folders, one event loop."""

import asyncio
import functools
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SHM: Final = Path("/dev/shm")
SECRET: Final = "hunter22x"
"""A password that is shown nowhere."""
MAX_PIECES: Final = 24  # of one input: packets of a picture, chunks of a line
WIDTH, HEIGHT, FPS = 48, 32, 25
"""Of pictures: as small as every codec takes them."""
_kept: list[tempfile.TemporaryDirectory[str]] = []


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def each(steps: list[Callable[[], object]], refusals: tuple[type[Exception], ...]) -> None:
    """Every step; what one refuses, the next may take."""
    for step in steps:
        try:
            step()
        except refusals:
            continue


@functools.cache
def folder() -> Path:
    """Of this process, gone with it."""
    kept = tempfile.TemporaryDirectory(prefix="framemesh-fuzz-")
    _kept.append(kept)
    return Path(kept.name)


def shm_prefix(process: int) -> str:
    """Of that process's folders in shared memory: who ends without a word leaves them to its parent."""
    return f"framemesh-fuzz-{process}-"


@functools.cache
def shm_folder() -> Path:
    """In real shared memory, where rings live."""
    kept = tempfile.TemporaryDirectory(prefix=shm_prefix(os.getpid()), dir=SHM)
    _kept.append(kept)
    return Path(kept.name)


def written(name: str, data: bytes) -> Path:
    path = folder() / name
    path.write_bytes(data)
    return path


def pieces(data: bytes) -> list[bytes]:
    """An input as several: each behind its length in two bytes."""
    found = []
    while len(data) > 2 and len(found) < MAX_PIECES:
        (size,) = struct.unpack_from("!H", data)
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


def joined(parts: list[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


@functools.cache
def event_loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()
