"""What a crash left of a recording, made to agree: the index with its file, and a file with the one that goes on."""

import logging
import os
from pathlib import Path

import numpy as np

from services.publisher.mp4_fragments import Sample, fragments
from shared.recording_index import (
    ESTIMATED,
    KEY,
    RECORD,
    BadIndex,
    IndexHeader,
    IndexSummary,
    Records,
    cut_index,
    extend_index,
    index_path,
    read_index,
    read_summary,
)

_log = logging.getLogger(__name__)


def repair_index(file: Path) -> IndexSummary | None:
    """Cut the index to what is in the file, or complete it from an MP4 file; None where there is no index. Blocks.

    `file` is whole by now: what was cut off in the middle is gone. What is completed has the file's times; what the
    pictures are is estimated from the last one that is known, and flagged.

    Raises:
        OSError: one of them cannot be read or changed.
    """
    path = index_path(file)
    try:
        header, records = read_index(path)
        if header.format == "mp4":
            with file.open("rb", buffering=0) as opened:
                found = [
                    (fragment.offset, sample) for fragment in fragments(opened.fileno()) for sample in fragment.samples
                ]
            if len(found) > len(records):
                extend_index(path, _estimated(records, header, found))
                _log.info("%s: %d pictures are completed from the file", path, len(found) - len(records))
            kept = len(found)
        else:
            kept = int(np.count_nonzero(records["offset"] < file.stat().st_size))
        cut_index(path, kept)
        return read_summary(path)
    except FileNotFoundError:
        return None
    except (BadIndex, OverflowError) as error:  # OverflowError: a damaged index, or file, has numbers of no picture
        _log.warning("the index of %s is ignored: %s", file.name, error)
        return None


def cut_before(file: Path, run: int, index: int) -> int | None:
    """Take the picture (`run`, `index`) and all after it away from an MP4 file that another one goes on from; blocks.

    Pictures that are kept; 0: that would be none, and nothing was done. None: the file cannot be cut just there.

    Raises:
        OSError: the file or its index cannot be read or changed.
        BadIndex: its index is none.
    """
    header, records = read_index(index_path(file))
    [places] = np.nonzero((records["run"] == run) & (records["index"] == index) & ((records["flags"] & KEY) != 0))
    if header.format != "mp4" or len(places) != 1:
        return None
    place = int(places[0])
    if place == 0:
        return 0
    offset = int(records[place]["offset"])
    if int(records[place - 1]["offset"]) == offset:  # in the middle of a fragment
        return None
    if offset > file.stat().st_size:  # a damaged index: cutting there would make the file longer
        return None
    os.truncate(file, offset)
    cut_index(index_path(file), place)
    return place


def _estimated(records: Records, header: IndexHeader, found: list[tuple[int, Sample]]) -> Records:
    lacking = found[len(records) :]
    made = np.zeros(len(lacking), RECORD)
    first = found[0][1]
    if len(records):
        known, shift_ns, ahead = records[-1], int(records[0]["pts_ns"]) - first.pts_ns, 1
    else:
        known, shift_ns, ahead = _first_record(header), -first.pts_ns, 0
    for number, (offset, sample) in enumerate(lacking):
        pts_ns = sample.pts_ns + shift_ns
        made[number] = (
            int(known["sequence"]) + number + ahead,
            known["epoch"],
            known["run"],
            int(known["index"]) + number + ahead,
            pts_ns,
            int(known["captured_ns"]) + pts_ns - int(known["pts_ns"]),
            offset,
            sample.duration_ns,
            ESTIMATED | (KEY if sample.key else 0),
        )
    return made


def _first_record(header: IndexHeader) -> np.void:
    """Of the picture that a file begins with, without its place."""
    first = np.zeros(1, RECORD)
    first["sequence"], first["epoch"] = header.first_sequence, header.first_epoch
    first["run"], first["index"] = header.first_run, header.first_index
    first["captured_ns"] = header.start_ns
    record: np.void = first[0]
    return record
