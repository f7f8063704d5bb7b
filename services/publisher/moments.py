"""Where a moment lies in what was recorded: for those who take pictures out of it, from whichever node."""

import asyncio
import time
from typing import Final

import numpy as np

from schemas.errors import NotFound
from schemas.ids import Id
from schemas.moments import FileMoment, FindMoment
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION, command
from schemas.units import parse_time
from services.publisher.catalogue import Catalogue, Entry
from services.publisher.settings import PublisherSettings
from shared.bus import Endpoint
from shared.recording_index import DEMUXERS, KEY, BadIndex, index_path, read_index
from shared.service import Context

_PREFERRED: Final = {SOURCE_RENDITION: 0, DEFAULT_RENDITION: 1}
_TS_SLACK_PICTURES: Final = 3
_MAX_TRIED: Final = 4  # files that are gone, or have no key picture, before it is given up


class Moments:
    """Only the publisher of the node answers: the files lie there."""

    def __init__(self, context: Context[PublisherSettings], catalogue: Catalogue) -> None:
        self._node, self._catalogue = context.node, catalogue

    def endpoints(self, service: str) -> list[Endpoint]:
        return [Endpoint(command(service, "moment", self._node), FindMoment, FileMoment, self.find)]

    async def find(self, request: FindMoment) -> FileMoment:
        """The picture that was captured nearest to `at`, of all files of the stream.

        Raises:
            InvalidValue: `at` is no time.
            NotFound: nothing of the stream is recorded on this node.
        """
        at_ns = parse_time(request.at, "at", time.time_ns())
        return await asyncio.to_thread(self._find, request.stream, at_ns)

    def _find(self, stream: Id, at_ns: int) -> FileMoment:
        entries = [
            entry
            for entry in self._catalogue.entries(stream)
            if entry.summary.pictures and entry.summary.header.format in DEMUXERS
        ]
        nearest_first = sorted(entries, key=lambda entry: (_distance_ns(entry, at_ns), _rank(entry)))
        for entry in nearest_first[:_MAX_TRIED]:
            found = self._in_file(entry, at_ns, min(one.summary.start_ns for one in entries))
            if found is not None:
                return found
        raise NotFound(f"nothing of {stream} is recorded on node {self._node}")

    def _in_file(self, entry: Entry, at_ns: int, oldest_ns: int) -> FileMoment | None:
        """None when the file is gone meanwhile, or cannot be decoded there."""
        try:
            header, records = read_index(index_path(entry.path))
        except (OSError, BadIndex):
            return None
        keys = np.flatnonzero(records["flags"] & KEY)
        if not len(keys):
            return None
        usable = records["captured_ns"][keys[0] :].astype(np.int64)  # nothing before a key picture can be decoded
        nearest = int(keys[0] + np.argmin(np.abs(usable - at_ns)))
        offsets = records["offset"].astype(np.int64)
        key = int(keys[keys <= nearest][-1])
        # Of MPEG-TS an offset is right but for some packets, and what is in the file is told at its begin.
        slack = _TS_SLACK_PICTURES if header.format == "ts" else 0
        offset = int(offsets[max(0, key - slack)])
        head_bytes = int(offsets[min(slack, len(offsets) - 1)])
        if slack and offset <= head_bytes:
            offset = head_bytes = 0
        behind = offsets[offsets > offsets[min(nearest + slack, len(offsets) - 1)]]
        record = records[nearest]
        return FileMoment(
            node=self._node,
            file=entry.name,
            rendition=header.rendition,
            format=header.format,
            codec=header.codec,
            header_bytes=head_bytes,
            first_pts_ns=int(records["pts_ns"][0]),
            offset=offset,
            end=int(behind.min()) if len(behind) else entry.size_bytes,
            number=nearest - int(np.argmax(offsets == offset)),
            pts_ns=int(record["pts_ns"]),
            captured_ns=int(record["captured_ns"]),
            duration_ns=int(record["duration_ns"]),
            epoch=int(record["epoch"]),
            sequence=int(record["sequence"]),
            oldest_ns=oldest_ns,
        )


def _distance_ns(entry: Entry, at_ns: int) -> int:
    """From the file's time to the moment; 0: it is in it."""
    return max(0, entry.summary.start_ns - at_ns, at_ns - entry.summary.end_ns)


def _rank(entry: Entry) -> int:
    return _PREFERRED.get(entry.summary.header.rendition, len(_PREFERRED))
