"""When one file of a recording ends and the next begins."""

from typing import NamedTuple

from schemas.resources import OutputSpec
from schemas.units import NS_PER_SECOND, parse_bytes, parse_duration


class SegmentLimits(NamedTuple):
    """What a file may hold until the next key picture begins another one; None: no limit."""

    longest_ns: int | None = None
    largest_bytes: int | None = None

    @classmethod
    def of(cls, spec: OutputSpec) -> "SegmentLimits":
        """Raises:
        InvalidValue: names the field.
        """
        return cls(
            round(parse_duration(spec.segment, "segment") * NS_PER_SECOND) if spec.segment else None,
            parse_bytes(spec.segment_bytes, "segment_bytes") if spec.segment_bytes else None,
        )

    def due(self, elapsed_ns: int, fed_bytes: int) -> bool:
        """A file that holds so much should end. `fed_bytes` are its packets': the container adds about 1 %."""
        longest_ns, largest_bytes = self
        return (longest_ns is not None and elapsed_ns >= longest_ns) or (
            largest_bytes is not None and fed_bytes >= largest_bytes
        )

    @property
    def any(self) -> bool:
        return self != (None, None)
