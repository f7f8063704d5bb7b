"""A slot while a picture is put into it, and what has become of slots so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.frames import Clock, FrameRef
from shared.pixel_formats import Picture

if TYPE_CHECKING:
    from shared.ring.writer import RingWriter

Metadata = Mapping[str, int | float | str | bool]
NO_METADATA: Final[Metadata] = MappingProxyType({})


@dataclass
class WriterCounts:
    """What has become of the slots, since the writer was made."""

    committed: int = 0
    abandoned: int = 0
    starved: int = 0
    """`acquire` found every slot leased: the caller dropped a picture."""
    passed_over: int = 0
    """Slots that were not reused because a reader held them."""


class WritableSlot:
    """A slot to put one picture into. Commit or abandon it; one that is forgotten is abandoned."""

    __slots__ = ("_writer", "array", "index")

    def __init__(self, writer: "RingWriter", index: int, array: Picture) -> None:
        self._writer: RingWriter | None = writer
        self.index = index
        self.array = array
        """`geometry.array_shape` and `geometry.array_dtype`, in shared memory, of undefined content. Not to be used
        after commit."""

    def commit(
        self,
        pts_ns: int,
        captured_ns: int,
        monotonic_ns: int,
        duration_ns: int = 0,
        clock: Clock = "arrival",
        exposure_ns: int = 0,
        metadata: Metadata = NO_METADATA,
        colour_space: ColourSpace = UNSPECIFIED,
    ) -> FrameRef:
        """Publish the picture to readers; returns the reference to send them.

        Raises:
            Superseded: a newer writer has the stream; the picture is dropped.
            RuntimeError: committed or abandoned before.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            raise RuntimeError("this slot was committed or abandoned before")
        return writer._commit(
            self.index, pts_ns, captured_ns, monotonic_ns, duration_ns, clock, exposure_ns, metadata, colour_space
        )

    def abandon(self) -> None:
        """Give the slot back without a picture."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer._abandon(self.index)

    def __del__(self) -> None:
        self.abandon()
