"""The lists of pictures that jobs have made: in parts, each small enough for one message of the bus."""

import asyncio
import itertools
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from schemas.errors import InternalError
from schemas.extraction import ExtractedFrame, JobRecord
from schemas.subjects import JOB_PAGES_BUCKET, job_page_key

if TYPE_CHECKING:  # jobs' own processes start in half the time without the bus
    from shared.bus import Bus

_PAGE_PICTURES = 2000
# Of a page as JSON; two fit into the 1 MiB that a server takes unless it is told otherwise.
_PAGE_BYTES = 400_000
# They are written before the job's last record, and shall not be gone before it.
_decoder = msgspec.json.Decoder(tuple[ExtractedFrame, ...])


class Page(NamedTuple):
    first: int
    data: bytes
    """JSON of the pictures, compressed."""


def make_pages(frames: Sequence[ExtractedFrame]) -> Iterator[Page]:
    """`frames` in parts; for the job's own process, since this takes a second for a hundred thousand."""
    start, size = 0, 0
    encoded: list[bytes] = []
    for number, frame in enumerate(frames):
        item = msgspec.json.encode(frame)
        if encoded and (len(encoded) >= _PAGE_PICTURES or size + len(item) > _PAGE_BYTES):
            yield Page(start, zlib.compress(b"[" + b",".join(encoded) + b"]"))
            start, size, encoded = number, 0, []
        encoded.append(item)
        size += len(item) + 1
    if encoded:
        yield Page(start, zlib.compress(b"[" + b",".join(encoded) + b"]"))


async def keep_pages(bus: "Bus", job: str, attempt: int, pages: Sequence[bytes]) -> None:
    """Write them under the attempt's own keys: one that was given up cannot write over those of its successor.

    Raises:
        Unavailable: the bus did not take them in time.
    """
    bucket = await bus.bucket(JOB_PAGES_BUCKET)
    for number, data in enumerate(pages):
        await bucket.put(job_page_key(job, str(attempt), str(number)), data)


async def read_page(bus: "Bus", record: JobRecord, first: int) -> tuple[tuple[ExtractedFrame, ...], bool]:
    """The pictures from `first` on to the end of their page, and whether there are more.

    Raises:
        InternalError: a page is missing, or is not what it should be.
        Unavailable: the bus does not answer.
    """
    if not record.pages or first >= record.job.done:
        return (), False
    number = bisect_right(record.pages, first) - 1
    bucket = await bus.bucket(JOB_PAGES_BUCKET)
    entry = await bucket.get(job_page_key(record.job.id, str(record.job.attempt), str(number)))
    if entry is None:
        raise InternalError(f"the pictures of {record.job.id} are no longer listed; submit it again")
    try:
        frames = await asyncio.to_thread(lambda data: _decoder.decode(zlib.decompress(data)), entry.value)
    except (zlib.error, msgspec.DecodeError) as error:
        raise InternalError(f"the list of pictures of {record.job.id} is not readable: {error}") from None
    kept = tuple(itertools.islice(frames, first - record.pages[number], None))
    return kept, number + 1 < len(record.pages)
