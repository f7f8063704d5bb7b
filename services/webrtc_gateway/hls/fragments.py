"""Fragments of MP4: a `moof` box and the `mdat` it describes (ISO/IEC 14496-12, 8.8; CMAF, ISO/IEC 23000-19, 7.3).

Written here because libav's muxer ends a fragment when it likes, and a part must end where its picture does. The
header before the fragments stays libav's; see `header`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

# 8.8.3.1: what a sample depends on; 0x0001_0000 is sample_is_non_sync_sample.
_KEY: Final = 0x0200_0000
_NOT_KEY: Final = 0x0101_0000
_BASE_IS_MOOF: Final = 0x02_0000  # tfhd: offsets count from this `moof`
_DEFAULT_FLAGS: Final = 0x20  # tfhd
_DATA_OFFSET, _DURATION, _SIZE, _FLAGS, _COMPOSITION = 0x1, 0x100, 0x200, 0x400, 0x800  # trun
_VIDEO_RUN: Final = _DATA_OFFSET | _DURATION | _SIZE | _FLAGS | _COMPOSITION
_AUDIO_RUN: Final = _DATA_OFFSET | _DURATION | _SIZE
_SIGNED_COMPOSITION: Final = 1 << 24  # version 1 of trun
_LONG_TIME: Final = 1 << 24  # version 1 of tfdt: 64 bits
_BOX_HEADER_BYTES: Final = 8

_MFHD = struct.Struct(">I4sII")
_TFHD = struct.Struct(">I4sIII")
_TFDT = struct.Struct(">I4sIQ")
_TRUN = struct.Struct(">I4sIII")
_BOX = struct.Struct(">I4s")


class Sample(NamedTuple):
    """One access unit as MP4 has it; times in ticks of the track's clock."""

    data: bytes | memoryview
    duration: int
    composition: int = 0
    """From decoding to showing."""
    key: bool = True


@dataclass(frozen=True)
class TrackRun:
    """Samples of one track that follow one another."""

    track_id: int
    """As in the header: 1 is the pictures'."""
    decode_time: int
    """Of the first sample, in ticks."""
    samples: Sequence[Sample]
    video: bool


def write_fragment(number: int, runs: Sequence[TrackRun]) -> bytes:
    """One fragment of at least one run, each with samples; `number` is 1 more than that of the one before."""
    sizes = [_traf_bytes(run) for run in runs]
    moof_bytes = _BOX_HEADER_BYTES + _MFHD.size + sum(sizes)
    parts: list[bytes | memoryview] = [_BOX.pack(moof_bytes, b"moof")]
    parts.append(_MFHD.pack(_MFHD.size, b"mfhd", 0, number & 0xFFFF_FFFF))
    offset = moof_bytes + _BOX_HEADER_BYTES
    for run, size in zip(runs, sizes, strict=True):
        parts.append(_traf(run, size, offset))
        offset += sum(len(sample.data) for sample in run.samples)
    parts.append(_BOX.pack(offset - moof_bytes, b"mdat"))
    # The one copy of each sample: a part goes to many viewers, as one piece of memory.
    parts += [sample.data for run in runs for sample in run.samples]
    return b"".join(parts)


def _traf_bytes(run: TrackRun) -> int:
    per_sample = 16 if run.video else 8
    return _BOX_HEADER_BYTES + _TFHD.size + _TFDT.size + _TRUN.size + per_sample * len(run.samples)


def _traf(run: TrackRun, size: int, data_offset: int) -> bytes:
    count = len(run.samples)
    numbers: list[int] = []
    if run.video:
        for sample in run.samples:
            flags = _KEY if sample.key else _NOT_KEY
            numbers += (sample.duration, len(sample.data), flags, sample.composition)
        table, trun_flags = struct.pack(">" + "IIIi" * count, *numbers), _SIGNED_COMPOSITION | _VIDEO_RUN
    else:
        for sample in run.samples:
            numbers += (sample.duration, len(sample.data))
        table, trun_flags = struct.pack(f">{2 * count}I", *numbers), _AUDIO_RUN
    return b"".join(
        (
            _BOX.pack(size, b"traf"),
            _TFHD.pack(_TFHD.size, b"tfhd", _BASE_IS_MOOF | _DEFAULT_FLAGS, run.track_id, _KEY),
            _TFDT.pack(_TFDT.size, b"tfdt", _LONG_TIME, run.decode_time),
            _TRUN.pack(_TRUN.size + len(table), b"trun", trun_flags, count, data_offset),
            table,
        )
    )
