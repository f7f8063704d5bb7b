"""What a set of recorded files holds as a whole, by decoding each and holding its index against that."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from schemas.units import NS_PER_SECOND
from shared.recording_index import ESTIMATED, index_path, read_index
from tests.support.peers import probe

_SOUND_LATE_SECONDS = 0.2  # behind its pictures: a block, an encoder of AAC, and a machine that does other things


class FoundSet(NamedTuple):
    lost: int
    """Packets that no file has: numbers left out within a run. What an encoder skips has no number."""
    doubled: int
    """Pictures that are in more than one file."""
    estimated: int
    largest_av_offset_ms: float
    """Between the first picture and the first sound of a file."""
    pictures: tuple[int, ...]
    """Of each file."""


def check_set(files: Sequence[Path]) -> FoundSet:
    """Fails when a file does not play without a complaint, or differs from its index."""
    seen: list[tuple[int, int]] = []
    numbers: list[tuple[int, int]] = []
    counts, offsets_ms, estimated = [], [], 0
    for file in files:
        records = read_index(index_path(file)).records
        tracks = probe(file)  # fails on anything that ffprobe complains about
        video = tracks["video"]
        assert video.decoded == len(records), f"{file}: {video.decoded} pictures, {len(records)} records"
        found_ns = np.array(video.pts) * NS_PER_SECOND
        assert np.abs(found_ns - records["pts_ns"]).max() < 2_000, file  # ffprobe shows microseconds
        for track in tracks.values():
            assert all(b > a for a, b in pairwise(track.dts)), f"{file}: decoding times grow strictly"
        if "audio" in tracks:
            if tracks["audio"].pts:
                offsets_ms.append(abs(min(video.pts) - min(tracks["audio"].pts)) * 1e3)
            else:  # stopped or killed just after it began, a file has not heard of its sound yet
                assert video.seconds < _SOUND_LATE_SECONDS, (
                    f"{file}: {video.decoded} pictures and a track of sound without any"
                )
        estimated += int(np.count_nonzero(records["flags"] & ESTIMATED))
        seen += [(int(record["epoch"]), int(record["sequence"])) for record in records]
        numbers += [(int(record["run"]), int(record["index"])) for record in records]
        counts.append(len(records))
    lost = sum(b[1] - a[1] - 1 for a, b in pairwise(sorted(set(numbers))) if a[0] == b[0])
    return FoundSet(lost, len(seen) - len(set(seen)), estimated, max(offsets_ms, default=0.0), tuple(counts))
