"""The packets of a recorded file as their producer made them: the index says which each is, the file what is in it."""

import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.packet import Packet as AvPacket
from av.video.stream import VideoStream

from schemas.errors import BadRequest
from schemas.packets import PacketHeader, VideoCodec
from schemas.units import NS_PER_SECOND
from services.publisher.catalogue import Entry
from services.publisher.catch_up import Packet
from shared.media import bitstream
from shared.media.adts import strip_adts
from shared.media.configuration import configuration
from shared.netguard.libav import ANY_TEXT
from shared.recording_index import DEMUXERS, KEY, Records

_log = logging.getLogger(__name__)

_MAX_SORTED: Final = 64  # pictures that a muxer holds back until the sound has come: 0.5 s of 120 pictures/s


class FilePackets:
    """Can be gone through more than once; blocks. What cannot be read of a file is left out, which the log tells."""

    def __init__(self, entry: Entry, records: Records, first: int) -> None:
        """From record number `first` on."""
        self._entry, self._records, self._first = entry, records, first

    def __iter__(self) -> Iterator[Packet]:
        records, header = self._records, self._entry.summary.header
        offset = int(records["offset"][self._first])
        # The first picture of that fragment: a player may begin there, and pictures are counted from there.
        number = int(np.argmax(records["offset"] == offset))
        try:
            with (
                _FromFragment(self._entry.path, int(records["offset"][0]), offset) as source,
                av.open(source, "r", format=DEMUXERS[header.format], metadata_errors=ANY_TEXT) as container,
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


def _times(packet: "AvPacket[Any]") -> tuple[int, int]:
    pts, dts = packet.pts, packet.dts
    shown = pts if pts is not None else dts or 0
    return _to_ns(shown, packet), _to_ns(shown if dts is None else dts, packet)


def _to_ns(ticks: int, packet: "AvPacket[Any]") -> int:
    base = packet.time_base or Fraction(1, NS_PER_SECOND)
    return round(ticks * base.numerator * NS_PER_SECOND / base.denominator)


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
