"""Which picture a sample takes is told by compare-and-set before it is written: one picture, whoever else runs."""

from typing import Final, Self

import msgspec

from schemas.errors import Conflict
from schemas.ids import Id
from schemas.sample_resources import SampleClaim
from schemas.subjects import SAMPLES_BUCKET, state_key
from shared.bus import Bucket, Bus
from shared.state import read_entry

_SERVICE: Final = "frame-extractor"


class Claims:
    """The claims of one sample, of which there is the last."""

    def __init__(self, bucket: Bucket, sample: Id) -> None:
        self._bucket, self._key = bucket, state_key(_SERVICE, sample)

    @classmethod
    async def open(cls, bus: Bus, sample: Id) -> Self:
        """Raises: Unavailable: the bus does not answer."""
        return cls(await bus.bucket(SAMPLES_BUCKET), sample)

    async def last(self) -> SampleClaim | None:
        """Raises: Unavailable: the bus does not answer."""
        return read_entry(await self._bucket.get(self._key), SampleClaim)

    async def take(self, claim: SampleClaim) -> int | None:
        """The revision of the claim; None: somebody has taken this picture, or this piece of time, already.

        Raises:
            Unavailable: the bus does not answer.
        """
        entry = await self._bucket.get(self._key)
        before = read_entry(entry, SampleClaim)
        if before is not None:
            same = (before.epoch, before.sequence) == (claim.epoch, claim.sequence)
            if same or (claim.piece and before.piece >= claim.piece):
                return None
            claim = msgspec.structs.replace(claim, piece=claim.piece or before.piece)
        try:
            return await self._bucket.update(self._key, msgspec.json.encode(claim), entry.revision if entry else 0)
        except Conflict:
            return None

    async def done(self, claim: SampleClaim) -> None:
        """Its picture is written, or never will be.

        Raises:
            Unavailable: the bus does not answer.
        """
        entry = await self._bucket.get(self._key)
        before = read_entry(entry, SampleClaim)
        if entry is None or before is None or (before.epoch, before.sequence) != (claim.epoch, claim.sequence):
            return
        done = msgspec.structs.replace(before, done=True)
        try:
            await self._bucket.update(self._key, msgspec.json.encode(done), entry.revision)
        except Conflict:  # the next one is taken already
            return

    async def forget(self) -> None:
        """Raises: Unavailable: the bus does not answer."""
        await self._bucket.delete(self._key)
