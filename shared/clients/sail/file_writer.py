"""The file of an encoder: written beside its place, and put there when it is complete."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

import av

from schemas.errors import InvalidValue, Unavailable
from schemas.packets import PacketHeader
from shared.media.mux import Muxer, TrackParameters

# An MP4 whose fragments can be played while it grows becomes an ordinary one, with its index, when it is closed.
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "mp4": {"movflags": "hybrid_fragmented", "frag_duration": "1000000"},
    "mov": {"movflags": "hybrid_fragmented", "frag_duration": "1000000"},
}


class FileWriter:
    """One file. Belongs to one thread; every method blocks for as long as the disk does."""

    def __init__(self, path: Path, muxer: str) -> None:
        """Nothing is made yet, but the folder has been tried.

        Raises:
            InvalidValue: the folder does not take such a file.
        """
        self._path, self._format = path, muxer
        # Not by the process alone: two encoders of one may have the same place, and pids of containers are the same.
        self._beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            os.close(os.open(self._beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.unlink(self._beside)
        except OSError as error:
            fix = f"no file can be made beside it: {error.strerror}; name a place that may be written"
            raise InvalidValue("output_path", str(path), fix) from None
        self._muxer: Muxer | None = None
        self._offset_ns = 0
        self.pictures = 0

    def write(self, header: PacketHeader, payload: bytes, pts_ns: int) -> None:
        """Add one picture. `pts_ns`: when it is shown, from the beginning of the file.

        Raises:
            Unavailable: the disk or the container does not take it; the file ends here.
        """
        try:
            delay_ns = max(0, header.pts_ns - header.dts_ns)
            if self._muxer is None:
                self._muxer = self._opened(header)
                self._offset_ns = delay_ns  # of B-frames: no decoding time is below zero
            pts_ns += self._offset_ns
            self._muxer.write(
                "video",
                payload,
                pts_ns=pts_ns,
                dts_ns=pts_ns - (header.pts_ns - header.dts_ns),
                duration_ns=header.duration_ns,
                key=header.key,
            )
        except (av.FFmpegError, OSError) as error:
            raise Unavailable(f"{self._path}: {error}") from None
        self.pictures += 1

    def _opened(self, header: PacketHeader) -> Muxer:
        parameters = TrackParameters.from_header(header)
        if parameters is None:
            raise Unavailable(f"{self._path}: the encoder told no parameters with its first picture")
        return Muxer(str(self._beside), self._format, {"video": parameters}, _OPTIONS.get(self._format))

    def close(self) -> None:
        """Complete the file and put it in its place; without a picture there is none. May be called again.

        Raises:
            Unavailable: the disk does not take the end; what there is stays beside its place.
        """
        muxer, self._muxer = self._muxer, None
        if muxer is None:
            return
        try:
            muxer.close()
            fd = os.open(self._beside, os.O_RDONLY)
            try:
                os.fsync(fd)  # complete on the disk before the name says so
            finally:
                os.close(fd)
            os.replace(self._beside, self._path)
        except (av.FFmpegError, OSError) as error:
            raise Unavailable(f"{self._path}: {error}; what there is stays in {self._beside}") from None

    def abandon(self) -> None:
        """Leave the file as it is, beside its place."""
        muxer, self._muxer = self._muxer, None
        if muxer is not None:
            with contextlib.suppress(av.FFmpegError, OSError):  # the disk failed already
                muxer.close()
