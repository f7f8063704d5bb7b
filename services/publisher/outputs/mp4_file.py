"""A recording: fragmented MP4, playable at every moment up to its last whole fragment.

A fragment goes to the system in one piece when it is full, so a killed process loses one fragment at most. The
data is forced to the disk every `sync_seconds`, after a fragment, and at the end: that much a power cut loses.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import av

from schemas.packets import PacketHeader, Track
from schemas.resources import OutputSpec
from services.publisher.failures import explain_file
from services.publisher.file_names import check_template, create_file
from services.publisher.outputs.base import Output, OutputSettings
from shared.media.mux import Muxer, TrackParameters

_MICROSECONDS = 1_000_000
# delay_moov: the header is written with the first fragment, when it is known where each track starts (written
# before, libav takes every track to start at 0 and sound is off by that much); default_base_moof: fragments stand
# alone, as MSE and HLS want; skip_trailer: no index at the end, whose memory would grow with the recording;
# frag_keyframe: a fragment begins with every key picture, so that a file can be cut there.
_MOVFLAGS = "delay_moov+default_base_moof+skip_trailer+frag_keyframe"


class Mp4File(Output):
    """Writes one file. A change of codec parameters needs another one."""

    video_codecs = frozenset({"h264", "hevc", "av1", "vp9", "mjpeg"})
    audio_tracks = ("aac", "opus")

    def __init__(self, spec: OutputSpec, url: str, settings: OutputSettings) -> None:
        super().__init__(spec, url, settings)
        check_template(spec, url, settings.file_roots)
        self._url = url
        self._sink: _FileSink | None = None
        self._muxer: Muxer | None = None
        self._written_packets = 0
        self._settled_packets = 0
        self._fragments = 0

    def open(self, tracks: Mapping[Track, TrackParameters], start_ns: int) -> None:
        try:
            fd, path = create_file(self.spec, self._url, self.settings.file_roots, start_ns)
        except OSError as error:
            raise explain_file(error, self.settings.file_roots[0] / "x") from None
        self.file = str(path)
        self._sink = _FileSink(fd, self.settings.sync_seconds)
        options = {
            "movflags": _MOVFLAGS,
            "frag_duration": str(int(self.settings.fragment_seconds * _MICROSECONDS)),
        }
        try:
            self._muxer = Muxer(self._sink, "mp4", tracks, options)
        except (OSError, av.FFmpegError) as error:
            self._sink.close()
            path.unlink(missing_ok=True)
            raise explain_file(error, path) from None

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
                # The muxer cut a fragment because of a packet of this call or, when it sorts tracks, one before.
                self._settled_packets = max(self._written_packets - _SORTED_PACKETS, self._settled_packets)
                self._fragments += 1
                sink.fragment_done()
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
            self._fragments += 1
        except (OSError, av.FFmpegError) as error:
            raise explain_file(error, Path(self.file)) from None
        finally:
            self.bytes_written = sink.bytes_written
            sink.close()
            if not self._fragments:  # nothing in it can be played: a full disk is not littered at every attempt
                Path(self.file).unlink(missing_ok=True)
        self._settled_packets = self._written_packets

    @property
    def confirmed(self) -> bool:
        return self._muxer is not None

    @property
    def settled_packets(self) -> int:
        return self._settled_packets


# A packet waits in the muxer until the other track has caught up: 0.5 s at most (`max_interleave_delta`), which is
# 60 packets of 120 pictures/s. Counting too few as settled costs a repeated moment after a crash, never a gap.
_SORTED_PACKETS = 60


class _FileSink:
    """The descriptor that the muxer writes to."""

    def __init__(self, fd: int, sync_seconds: float) -> None:
        self._fd = fd
        self._sync_seconds = sync_seconds
        self._synced_at_seconds = time.monotonic()
        self.bytes_written = 0

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        while view:  # a disk that fills up takes a part first; the next call tells why
            count = os.write(self._fd, view)
            self.bytes_written += count
            view = view[count:]
        return len(data)

    def fragment_done(self) -> None:
        if time.monotonic() - self._synced_at_seconds >= self._sync_seconds:
            self.sync()

    def sync(self) -> None:
        os.fdatasync(self._fd)
        self._synced_at_seconds = time.monotonic()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
