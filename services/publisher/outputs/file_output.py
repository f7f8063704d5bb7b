"""What recordings to a file have in common: a file of their own, written as it comes, playable after a crash."""

import os
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import av

from schemas.packets import PacketHeader, Track
from schemas.resources import OutputSpec
from services.publisher.failures import explain_file
from services.publisher.file_names import check_template, create_file
from services.publisher.outputs.base import Output, OutputSettings
from shared.media.mux import Muxer, TrackParameters

# A packet waits in the muxer until the other track has caught up: 0.5 s at most (`max_interleave_delta`), which is
# 60 packets of 120 pictures/s. Counting too few as settled costs a repeated moment after a crash, never a gap.
_SORTED_PACKETS = 60


class FileOutput(Output):
    """Writes one file; a change of codec parameters needs another one.

    A piece (a fragment, a cluster, packets of a transport stream) goes to the system when it is full, so a killed
    process loses one piece at most. The data is forced to the disk every `sync_seconds`, after a piece, and at the
    end: that much a power cut loses.
    """

    container_format: ClassVar[str]
    seekable: ClassVar[bool] = False
    """The container goes back to its beginning when it ends."""

    def __init__(self, spec: OutputSpec, url: str, settings: OutputSettings) -> None:
        super().__init__(spec, url, settings)
        check_template(spec, url, settings.file_roots)
        self._url = url
        self._sink: FileSink | None = None
        self._muxer: Muxer | None = None
        self._written_packets = 0
        self._settled_packets = 0
        self._pieces = 0

    @abstractmethod
    def _options(self) -> dict[str, str]:
        """Options of the muxer: how large its pieces are."""

    def _new_sink(self, fd: int) -> "FileSink":
        return SeekableSink(fd, self.settings) if self.seekable else FileSink(fd, self.settings)

    def open(self, tracks: Mapping[Track, TrackParameters], start_ns: int) -> None:
        try:
            fd, path = create_file(self.spec, self._url, self.settings.file_roots, start_ns)
        except OSError as error:
            raise explain_file(error, self.settings.file_roots[0] / "x") from None
        self.file = str(path)
        self.on_file(self.file)
        sink = self._sink = self._new_sink(fd)
        try:
            self._muxer = Muxer(sink, self.container_format, tracks, self._options())
        except (OSError, av.FFmpegError) as error:
            sink.close()
            path.unlink(missing_ok=True)
            raise explain_file(error, path) from None
        self.bytes_written = sink.bytes_written

    def write(self, header: PacketHeader, payload: memoryview, pts_ns: int, dts_ns: int) -> None:
        muxer, sink = self._muxer, self._sink
        if muxer is None or sink is None:
            raise RuntimeError("write before open")
        before = sink.bytes_written
        try:
            muxer.write(
                header.track, payload, pts_ns=pts_ns, dts_ns=dts_ns, duration_ns=header.duration_ns, key=header.key
            )
            if sink.bytes_written > before:
                # The muxer ended a piece because of a packet of this call or, when it sorts tracks, one before.
                self._settled_packets = max(self._written_packets - _SORTED_PACKETS, self._settled_packets)
                self._pieces += 1
                sink.piece_done()
        except (OSError, av.FFmpegError) as error:
            raise explain_file(error, Path(self.file), len(payload)) from None
        finally:
            self.bytes_written = sink.bytes_written
        self._written_packets += 1

    def close(self) -> None:
        muxer, self._muxer = self._muxer, None
        sink = self._sink
        if muxer is None or sink is None:
            return
        try:
            muxer.close()
            sink.sync()
            self._pieces += bool(self._written_packets)
        except (OSError, av.FFmpegError) as error:
            raise explain_file(error, Path(self.file)) from None
        finally:
            self.bytes_written = sink.bytes_written
            sink.close()
            if not self._pieces:  # nothing in it can be played: a full disk is not littered at every attempt
                Path(self.file).unlink(missing_ok=True)
        self._settled_packets = self._written_packets

    @property
    def confirmed(self) -> bool:
        return self._muxer is not None

    @property
    def settled_packets(self) -> int:
        return self._settled_packets

    @property
    def file_offset(self) -> int:
        return self.bytes_written


class FileSink:
    """The descriptor that a muxer writes to."""

    def __init__(self, fd: int, settings: OutputSettings) -> None:
        self._fd = fd
        self._sync_seconds = settings.sync_seconds
        self._synced_at_seconds = time.monotonic()
        self.bytes_written = 0
        """How long the file is."""

    def write(self, data: bytes, /) -> int:
        write_all(self._fd, data)
        self.bytes_written += len(data)
        return len(data)

    def piece_done(self) -> None:
        if time.monotonic() - self._synced_at_seconds >= self._sync_seconds:
            self.sync()

    def sync(self) -> None:
        os.fdatasync(self._fd)
        self._synced_at_seconds = time.monotonic()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SeekableSink(FileSink):
    """For a muxer that goes back: what it writes there makes the file no longer."""

    def write(self, data: bytes, /) -> int:
        write_all(self._fd, data)
        self.bytes_written = max(self.bytes_written, self.tell())
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)


def write_all(fd: int, data: bytes) -> None:
    """Write everything.

    Raises:
        OSError: why not; a part may be written.
    """
    view = memoryview(data)
    while view:  # a disk that fills up takes a part first; the next call tells why
        view = view[os.write(fd, view) :]
