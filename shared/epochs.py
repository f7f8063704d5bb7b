"""Epochs: a number that grows with every new writer of a stream, wherever it runs."""

from typing import TYPE_CHECKING

from schemas.ids import check_id
from schemas.subjects import EPOCH_BUCKET

if TYPE_CHECKING:
    from shared.bus import Bus


async def next_epoch(bus: "Bus", name: str, at_least: int = 0) -> int:
    """A new epoch for the stream (or rendition) `name`, higher than every earlier one.

    The revision of a key-value put already is such a number: one counter of the whole bucket, kept on disk.
    `at_least` guards against a bus whose store was wiped: pass the highest epoch seen in the ring folder plus one.
    """
    bucket = await bus.bucket(EPOCH_BUCKET)
    for part in name.split("--"):
        check_id(part, "stream")
    revision = await bucket.put(name, b"")
    return max(revision, at_least)
