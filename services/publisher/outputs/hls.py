"""HLS into a folder: a playlist and its pieces in fragmented MP4, for any web server (RFC 8216).

The pieces are cut here, and not by libav's own HLS muxer: that opens paths of its own making, which a link could lead
anywhere, and after a crash begins its numbers again.
"""

import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import av

from schemas.errors import Conflict, InvalidValue, MeshError
from schemas.ids import compound_id
from schemas.packets import PacketHeader, Track
from schemas.resources import OutputSpec
from schemas.units import NS_PER_SECOND, parse_duration
from services.publisher.failures import explain_file
from services.publisher.file_names import check_template, open_folder
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.outputs.fragment_sink import FragmentSink
from services.publisher.outputs.hls_folder import HlsFolder
from services.publisher.outputs.hls_playlist import Entry, Playlist, time_text
from shared.media.mux import Muxer, TrackParameters

_PIECE_SECONDS = 2.0  # what players begin after three of; shorter ones cost a request each
# A group of pictures that ends this much early still ends a piece: rates and clocks are not exact.
_EARLY_SECONDS = 0.1
_LEAST_SECONDS = 0.2  # some players stall at a shorter one; sound comes in packets of 20 ms, and a moment late
# frag_keyframe: a fragment is a group of pictures, nothing else; delay_moov and frag_discont: each fragment says where
# on the common clock its tracks begin, so that sound that begins late is where it belongs.
_MOVFLAGS = "delay_moov+frag_discont+default_base_moof+frag_keyframe+skip_trailer"
_HEVC_TAG = "hvc1"  # the one that Apple's players take


class _Group(NamedTuple):
    """A key picture and those that need it."""

    start_ns: int
    captured_ns: int


class HlsOutput(Output):
    """One run of pieces; the playlist goes on from the one before, with a discontinuity."""

    video_codecs = frozenset({"h264", "hevc", "av1"})
    audio_tracks = ("aac", "opus")

    def __init__(self, spec: OutputSpec, url: str, settings: OutputSettings) -> None:
        super().__init__(spec, url, settings)
        check_template(spec, url, settings.file_roots)
        for field in ("segment_bytes", "keep_bytes", "keep_free"):
            if getattr(spec, field) is not None:
                raise InvalidValue(field, getattr(spec, field), "of HLS only segment and keep_for can be set")
        self._url = url
        self._piece_seconds = parse_duration(spec.segment, "segment") if spec.segment else _PIECE_SECONDS
        self._window_seconds = parse_duration(spec.keep_for, "keep_for") if spec.keep_for else None
        self._playlist = Playlist(compound_id(spec.stream, spec.output), self._piece_seconds)
        self._sink = FragmentSink()
        self._muxer: Muxer | None = None
        self._folder: HlsFolder | None = None
        self._path = Path()
        self._start_ns = 0
        self._header = ""
        self._groups: deque[_Group] = deque()
        """Of those key pictures that were written and whose fragments are not out."""
        self._end_ns = 0
        """Where the last picture ends."""
        self._piece: list[bytes] = []
        self._piece_start: _Group | None = None

    def open(self, tracks: Mapping[Track, TrackParameters], start_ns: int) -> None:
        self._start_ns = max(0, start_ns)
        self._open_folder()
        try:
            self._muxer = Muxer(
                self._sink, "mp4", tracks, {"movflags": _MOVFLAGS}, video_tag=_HEVC_TAG if _is_hevc(tracks) else ""
            )
        except (OSError, av.FFmpegError) as error:
            raise self._explained(error) from None

    def write(self, header: PacketHeader, payload: memoryview, pts_ns: int, dts_ns: int) -> None:
        if self._muxer is None:
            raise RuntimeError("write before open")
        if header.track == "video":
            self._end_ns = max(self._end_ns, pts_ns + header.duration_ns)
            if header.key:
                self._groups.append(_Group(pts_ns, header.captured_ns))
        # Times in the pieces are those on the wall: a run goes on after the one before, and players that join pieces
        # without looking at the discontinuity lose none.
        pts_ns, dts_ns = pts_ns + self._start_ns, dts_ns + self._start_ns
        try:
            self._muxer.write(
                header.track, payload, pts_ns=pts_ns, dts_ns=dts_ns, duration_ns=header.duration_ns, key=header.key
            )
            self._take_fragments()
        except (OSError, av.FFmpegError) as error:
            raise self._explained(error) from None

    def close(self) -> None:
        muxer, self._muxer = self._muxer, None
        try:
            if muxer is not None:
                muxer.close()
                self._take_fragments()
                self._finish_rest()
        except (OSError, av.FFmpegError) as error:
            raise self._explained(error) from None
        finally:
            if self._folder is not None:
                self._folder.close()

    def end(self) -> None:
        if self._folder is None and "{start" in self._url:  # where an earlier run has written is not known
            return
        try:
            self._open_folder()
            assert self._folder is not None
            if self._playlist.entries:
                self._write_playlist(ended=True)
        except OSError as error:
            raise self._explained(error) from None
        finally:
            if self._folder is not None:
                self._folder.close()

    @property
    def confirmed(self) -> bool:
        return self._muxer is not None

    def _open_folder(self) -> None:
        """Take up what is there.

        Raises:
            MeshError: the playlist is another output's, or the disk does not let us.
        """
        try:
            folder_fd, self._path = open_folder(self.spec, self._url, self.settings.file_roots, self._start_ns)
            try:
                self._folder = HlsFolder(folder_fd, self._path)
            except OSError:
                os.close(folder_fd)
                raise
            text = self._folder.read_playlist()
            if text:  # after a power cut it may be empty: then its numbers are those of its files
                self._playlist.load(text, self._folder.names)
        except ValueError as error:
            if isinstance(error, MeshError):
                raise
            raise Conflict(f"playlist {self._path} is there and {error}; name another one, or delete it") from None
        except OSError as error:
            raise self._explained(error) from None

    def _take_fragments(self) -> None:
        """A fragment comes out when the key picture after it goes in: the groups tell where it begins and ends."""
        while self._sink.fragments:
            fragment, group = self._sink.fragments.popleft(), self._groups.popleft()
            if self._piece_start is None:
                self._piece_start = group
            self._piece.append(fragment)
            end_ns = self._groups[0].start_ns if self._groups else self._end_ns
            if end_ns - self._piece_start.start_ns >= (self._piece_seconds - _EARLY_SECONDS) * NS_PER_SECOND:
                self._finish_piece(end_ns)

    def _finish_rest(self) -> None:
        """What the end of the run cuts off: a piece, or nothing where players would find pictures without sound."""
        if self._piece_start is None:
            return
        if self._end_ns - self._piece_start.start_ns < _LEAST_SECONDS * NS_PER_SECOND and self._header:
            self.dropped["too_short_a_piece"] += 1
        else:
            self._finish_piece(self._end_ns)

    def _finish_piece(self, end_ns: int) -> None:
        folder, start = self._folder, self._piece_start
        assert folder is not None
        assert start is not None
        first = not self._header
        if first:
            self._header = folder.header_name()
            folder.write(self._header, self._sink.header, sync=True)
        name = folder.piece_name()
        # On the disk before it is told of: a power cut leaves no playlist of empty pieces.
        folder.write(name, *self._piece, sync=True)
        self.bytes_written += sum(map(len, self._piece))
        self._piece.clear()
        self._piece_start = None
        self._playlist.append(
            Entry(
                name=name,
                header=self._header,
                seconds=(end_ns - start.start_ns) / NS_PER_SECOND,
                time=time_text(start.captured_ns),
                discontinuity=first and bool(self._playlist.entries or self._playlist.first),
            )
        )
        self._write_playlist(ended=False)

    def _write_playlist(self, *, ended: bool) -> None:
        folder, playlist = self._folder, self._playlist
        assert folder is not None
        if self._window_seconds is not None:
            playlist.trim(self._window_seconds)
        folder.write_playlist(playlist.text(grows_only=self._window_seconds is None, ended=ended))
        needed = {entry.name for entry in playlist.entries} | {entry.header for entry in playlist.entries}
        # RFC 8216, 6.2.2: for as long as the playlist that had it and the piece itself last.
        folder.keep_only(needed | {self._header}, playlist.seconds + playlist.target_seconds)

    def _explained(self, error: Exception) -> MeshError:
        place = self._path if self._path.name else self.settings.file_roots[0] / "x"
        return explain_file(error, place)


def _is_hevc(tracks: Mapping[Track, TrackParameters]) -> bool:
    return "video" in tracks and tracks["video"].codec == "hevc"
