"""Where a clip's packets come from: recorded files, the packet ring, and what was set aside while waiting for its end.

Each piece gives packets in decoding order, as a producer made them, with times of its own clock: `clip_cut` brings
those of several pieces together by run and index.
"""

import logging
import os
import struct
from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.packet import Packet as AvPacket
from av.video.stream import VideoStream

from schemas.errors import BadRequest
from schemas.packets import PacketHeader, VideoCodec, pack, unpack_packet
from services.publisher.catalogue import Entry
from services.publisher.catch_up import Packet, unbroken_from
from shared.media import bitstream
from shared.media.adts import strip_adts
from shared.media.configuration import configuration
from shared.packet_ring import PacketRingReader
from shared.recording_index import KEY, BadIndex, Records, index_path, read_index
from shared.ring import RingError

_log = logging.getLogger(__name__)

_NANOSECONDS: Final = 1_000_000_000
_DEMUXERS: Final = {"mp4": "mp4", "ts": "mpegts", "mkv": "matroska"}
_MAX_SORTED: Final = 64  # pictures that a muxer holds back until the sound has come: 0.5 s of 120 pictures/s
# What belongs to a clip may lie so far behind its end: sound, and pictures that are decoded in another order.
BEHIND_NS: Final = 1 * _NANOSECONDS
_LENGTH: Final = struct.Struct("<I")
_MAX_SPOOLED_BYTES: Final = 64 << 20  # no packet is larger: a ring of the usual size does not take it either


class Piece(NamedTuple):
    """Packets that can be had from `start_ns` to `end_ns`, CLOCK_REALTIME."""

    start_ns: int
    end_ns: int
    packets: Iterable[Packet]
    sound: Literal["aac", "opus"] | None = None
    """The one to take of what it has."""


def file_piece(entry: Entry, start_ns: int) -> Piece | None:
    """A recorded file, from the key picture at or before `start_ns` on; None when it has none, or is gone; blocks."""
    try:
        header, records = read_index(index_path(entry.path))
    except (OSError, BadIndex) as error:
        _log.info("clip without %s: %s", entry.path, error)
        return None
    keys = np.flatnonzero(records["flags"] & KEY)
    if not len(keys) or header.format not in _DEMUXERS:
        return None
    early = keys[records["captured_ns"][keys] <= start_ns]
    first = int(early[-1] if len(early) else keys[0])
    return Piece(
        int(records["captured_ns"][first]),
        entry.summary.end_ns,
        unbroken_from(_FilePackets(entry, records, first), start_ns),
        _sound_of(header.tracks),
    )


def ring_piece(folder: Path, stream: str, rendition: str, start_ns: int, end_ns: int) -> Piece | None:
    """What the packet ring has from the key picture at or before `start_ns` on to what `end_ns` needs; None when there
    is nothing; blocks."""
    try:
        with PacketRingReader.open_latest(folder, stream, rendition) as ring:
            # Read at once: by the time the files before it are written the ring would have moved on.
            packets = list(_until(end_ns + BEHIND_NS, unbroken_from(ring.since_capture(start_ns), start_ns)))
    except (RingError, LookupError):
        return None
    return _of([header for header, _ in packets], packets)


def spool_piece(path: Path, start_ns: int) -> Piece | None:
    """What was set aside; None when there is nothing; blocks."""
    return _of([header for header, _, _ in read_spool(path)], unbroken_from(_payloads(read_spool(path)), start_ns))


def read_spool(path: Path) -> Iterator[tuple[PacketHeader, memoryview, int]]:
    """Packets that were set aside and the bytes each takes, up to the first that is not whole; blocks."""
    try:
        with path.open("rb") as file:
            while len(length := file.read(_LENGTH.size)) == _LENGTH.size:
                size = _LENGTH.unpack(length)[0]
                if size > _MAX_SPOOLED_BYTES or len(message := file.read(size)) < size:
                    return
                yield *unpack_packet(message), _LENGTH.size + size
    except FileNotFoundError:
        return
    except (OSError, BadRequest) as error:
        _log.warning("%s ends early: %s", path, error)


def spool(descriptor: int, header: PacketHeader, payload: bytes) -> int:
    """Set a packet aside at the end of an open file; the bytes that took.

    Raises:
        OSError: the disk does not take it.
    """
    message = pack(header, payload)
    data = memoryview(_LENGTH.pack(len(message)) + message)
    total = len(data)
    while data:
        data = data[os.write(descriptor, data) :]
    return total


def _until(end_ns: int, packets: Iterable[Packet]) -> Iterator[Packet]:
    """As far as the first picture that was captured later: the ring may reach hundreds of megabytes further."""
    for header, payload in packets:
        yield header, payload
        if header.track == "video" and header.captured_ns > end_ns:
            return


def _payloads(packets: Iterable[tuple[PacketHeader, memoryview, int]]) -> Iterator[Packet]:
    for header, payload, _ in packets:
        yield header, bytes(payload)


def _of(headers: list[PacketHeader], packets: Iterable[Packet]) -> Piece | None:
    pictures = [header for header in headers if header.track == "video"]
    if not pictures:
        return None
    sound = _sound_of({header.track for header in headers})
    return Piece(pictures[0].captured_ns, pictures[-1].captured_ns + pictures[-1].duration_ns, packets, sound)


def _sound_of(tracks: Collection[str]) -> Literal["aac", "opus"] | None:
    return "aac" if "aac" in tracks else "opus" if "opus" in tracks else None


def _lead_ns(records: Records) -> npt.NDArray[np.int64]:
    """From decoding to showing, of each picture: Matroska has only the latter. Pictures are decoded at the distances
    that they are shown at, and so early that none is late."""
    shown = records["pts_ns"].astype(np.int64)
    decoded = np.sort(shown)
    return shown - decoded + int(np.max(decoded - shown, initial=0))


def _number_at(records: Records, about: int, pts_ns: int) -> int:
    """Which record near number `about` is that of the picture shown then."""
    first = max(0, about - _MAX_SORTED)
    nearest = np.abs(records["pts_ns"][first : about + _MAX_SORTED] - pts_ns)
    return first + int(np.argmin(nearest)) if len(nearest) else about


class _FilePackets:
    """The packets of a file as they were before they were muxed."""

    def __init__(self, entry: Entry, records: Records, first: int) -> None:
        self._entry, self._records, self._first = entry, records, first

    def __iter__(self) -> Iterator[Packet]:
        records, header = self._records, self._entry.summary.header
        offset = int(records["offset"][self._first])
        # The first picture of that fragment: a player may begin there, and pictures are counted from there.
        number = int(np.argmax(records["offset"] == offset))
        try:
            with (
                _FromFragment(self._entry.path, int(records["offset"][0]), offset) as source,
                av.open(source, "r", format=_DEMUXERS[header.format]) as container,
            ):
                video = container.streams.video[0]
                sound = container.streams.audio[0] if container.streams.audio else None
                pictures = _Pictures(self._entry, video, _lead_ns(records) if header.format == "mkv" else None)
                heard = _Sound(self._entry, sound) if sound else None
                wanted = [video, sound] if sound else [video]
                for packet in container.demux(*wanted):
                    if not packet.size:  # the demuxer's last word
                        continue
                    if packet.stream is video:
                        if header.format == "mkv":  # its muxer sorts: a picture may lie in the cluster before
                            number = _number_at(records, number, _times(packet)[0])
                        if number >= len(records):  # the index is at most behind its file
                            return
                        record = records[number]
                        number += 1
                        if number > self._first:
                            yield pictures.packet(packet, record, number - 1)
                    elif heard is not None and (made := heard.packet(packet)) is not None:
                        yield made
        except (OSError, av.FFmpegError, BadRequest, IndexError) as error:  # cut off, or taken away meanwhile
            _log.info("clip goes on without the rest of %s: %s", self._entry.path, error)


class _Pictures:
    def __init__(self, entry: Entry, stream: VideoStream, lead_ns: npt.NDArray[np.int64] | None) -> None:
        """`lead_ns`: of each picture the time from decoding to showing, where the file does not tell it."""
        self._lead_ns = lead_ns
        self._header = entry.summary.header
        self._codec: VideoCodec = self._header.codec  # type: ignore[assignment]  # an index of ours, or muxing fails
        self._length_bytes = 0
        extradata = stream.codec_context.extradata or b""
        if (self._codec == "h264" or self._codec == "hevc") and extradata and not bitstream.is_annexb(extradata):
            self._length_bytes = bitstream.nal_length_bytes(extradata, self._codec)
        self._extradata = extradata
        self._reordered = bool(stream.codec_context.has_b_frames)

    def packet(self, packet: "AvPacket[Any]", record: Any, number: int) -> Packet:
        """Raises: BadRequest: the access unit is broken."""
        codec, payload = self._codec, bytes(packet)
        key = bool(record["flags"] & KEY)
        if codec == "h264" or codec == "hevc":
            if self._length_bytes and not bitstream.is_annexb(payload):
                payload = bitstream.avcc_to_annexb(payload, self._length_bytes)
            sets = bitstream.extradata_to_annexb(self._extradata, codec)
            payload = bitstream.ensure_parameter_sets(payload, sets, key, codec)
        pts_ns, dts_ns = _times(packet)
        if self._lead_ns is not None:
            dts_ns = pts_ns - int(self._lead_ns[number])
        self._reordered = self._reordered or pts_ns != dts_ns
        return PacketHeader(
            stream=self._header.stream,
            rendition=self._header.rendition,
            track="video",
            codec=codec,
            epoch=int(record["epoch"]),
            sequence=int(record["sequence"]),
            run=int(record["run"]),
            index=int(record["index"]),
            key=key,
            pts_ns=pts_ns,
            dts_ns=dts_ns,
            duration_ns=int(record["duration_ns"]),
            captured_ns=int(record["captured_ns"]),
            width=self._header.width,
            height=self._header.height,
            reordered=self._reordered,
            extradata=configuration(payload, codec) if key else b"",
        ), payload


class _Sound:
    def __init__(self, entry: Entry, stream: AudioStream) -> None:
        self._header = entry.summary.header
        name = stream.codec_context.name
        self._track: Literal["aac", "opus"] | None = (
            "aac" if name.startswith("aac") else "opus" if "opus" in name else None
        )
        self._rate, self._channels = stream.codec_context.sample_rate, stream.codec_context.channels
        self._extradata = stream.codec_context.extradata or b""
        self._index = 0

    def packet(self, packet: "AvPacket[Any]") -> Packet | None:
        """Raises: BadRequest: the frame is broken."""
        if self._track is None:
            return None
        payload = bytes(packet)
        if self._track == "aac":
            payload, from_adts = strip_adts(payload)
            self._extradata = self._extradata or from_adts
        self._index += 1
        pts_ns, dts_ns = _times(packet)
        return PacketHeader(
            stream=self._header.stream,
            rendition=self._header.rendition,
            track=self._track,
            codec=self._track,
            epoch=0,
            sequence=self._index,
            run=0,
            index=self._index,
            key=True,
            pts_ns=pts_ns,
            dts_ns=dts_ns,
            duration_ns=_to_ns(packet.duration or 0, packet),
            captured_ns=0,
            sample_rate=self._rate,
            channels=self._channels,
            extradata=self._extradata,
        ), payload


def _times(packet: "AvPacket[Any]") -> tuple[int, int]:
    pts, dts = packet.pts, packet.dts
    shown = pts if pts is not None else dts or 0
    return _to_ns(shown, packet), _to_ns(shown if dts is None else dts, packet)


def _to_ns(ticks: int, packet: "AvPacket[Any]") -> int:
    base = packet.time_base or Fraction(1, _NANOSECONDS)
    return round(ticks * base.numerator * _NANOSECONDS / base.denominator)


class _FromFragment:
    """A file's header and then what begins at a fragment, read once from front to back: libav would read all that is
    between to find the place, in a long recording gigabytes."""

    def __init__(self, path: Path, header_bytes: int, offset: int) -> None:
        """Raises: OSError: it cannot be read."""
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._header_bytes, self._offset, self._position = header_bytes, offset, 0

    def read(self, size: int = -1) -> bytes:
        if self._position < self._header_bytes:
            data = os.pread(self._fd, min(size, self._header_bytes - self._position), self._position)
        else:
            data = os.pread(self._fd, size, self._position - self._header_bytes + self._offset)
        self._position += len(data)
        return data

    def __enter__(self) -> "_FromFragment":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
