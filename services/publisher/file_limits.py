"""What a spec says of the size and the number of files, judged before anything is begun."""

from schemas.errors import InvalidValue
from schemas.resources import OutputFormat, OutputSpec
from services.publisher.file_set import INDEXED
from services.publisher.retention import Limits
from services.publisher.segments import SegmentLimits

_FIELDS = ("segment", "segment_bytes", "keep_for", "keep_bytes", "keep_free")
_OF_PLAYLISTS = ("segment", "keep_for")


def check_limits(spec: OutputSpec, kind: OutputFormat) -> None:
    """Refuse limits that are none, and those of files where there are no files.

    Raises:
        InvalidValue: names the field.
    """
    SegmentLimits.of(spec)
    Limits.of(spec)
    for field in _FIELDS:
        value = getattr(spec, field)
        if value is not None and kind not in INDEXED and not (kind == "hls" and field in _OF_PLAYLISTS):
            raise InvalidValue(field, value, f"an output of format {kind} has no such files; leave {field} out")
