"""The files of one HLS output in their folder: whole when they appear, and gone a while after nobody needs them."""

import contextlib
import os
import re
import time
from collections import deque
from pathlib import Path
from typing import Final

from services.publisher.file_names import FILE_MODE
from services.publisher.outputs.file_output import write_all

_NEW: Final = ".new"
# Hidden from a server's listing: a file is none of the output until it is whole.
_MAX_PLAYLIST_BYTES: Final = 256 << 20


class HlsFolder:
    """An open folder; every name is one in it, so no link leads out. Raises OSError where the system does."""

    def __init__(self, folder_fd: int, playlist: Path) -> None:
        """Takes the descriptor over."""
        self._fd, self._playlist = folder_fd, playlist
        stem = re.escape(playlist.stem)
        self.names = re.compile(rf"{stem}-(\d{{6,12}})\.m4s|{stem}-init-(\d{{6,12}})\.mp4")
        """Of pieces and their headers: numbered together, so that none is ever used twice."""
        self._leaving: deque[tuple[float, str]] = deque()
        found = self._found()
        self._next = max(found.values(), default=0) + 1
        self._mine = set(found)

    def piece_name(self) -> str:
        return f"{self._playlist.stem}-{self._number():06d}.m4s"

    def header_name(self) -> str:
        return f"{self._playlist.stem}-init-{self._number():06d}.mp4"

    def read_playlist(self) -> str | None:
        """None: there is none yet.

        Raises:
            ValueError: it is no text.
        """
        try:
            fd = os.open(self._playlist.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            return file.read(_MAX_PLAYLIST_BYTES).decode()

    def write_playlist(self, text: str) -> None:
        self.write(self._playlist.name, text.encode(), sync=False)

    def write(self, name: str, *parts: bytes, sync: bool) -> None:
        """Make or replace a file in one step; `sync`: it is on the disk itself when this returns."""
        temporary = f".{name}{_NEW}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, FILE_MODE, dir_fd=self._fd)
        try:
            try:
                for part in parts:
                    write_all(fd, part)
                if sync:
                    os.fdatasync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._fd)
            raise
        if self.names.fullmatch(name):
            self._mine.add(name)

    def keep_only(self, names: set[str], for_seconds: float) -> None:
        """What is not among `names` goes, but not before `for_seconds`: somebody may be playing it."""
        now = time.monotonic()
        for name in sorted(self._mine - names):
            self._mine.discard(name)
            self._leaving.append((now + for_seconds, name))
        while self._leaving and self._leaving[0][0] <= now:
            with contextlib.suppress(OSError):  # who has deleted it has done what was to be done
                os.unlink(self._leaving.popleft()[1], dir_fd=self._fd)

    def close(self) -> None:
        """Closing twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def _found(self) -> dict[str, int]:
        """Files of this output, whoever wrote them, and their numbers."""
        matches = map(self.names.fullmatch, os.listdir(self._fd))
        return {match[0]: int(match[1] or match[2]) for match in matches if match}
