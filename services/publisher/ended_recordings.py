"""What the last recording of each stream was, whoever has ended it."""

from collections import OrderedDict
from typing import Final

from schemas.ids import Id, compound_id
from schemas.recordings import RECORDING_OUTPUT, Recording
from schemas.resources import OutputActual
from schemas.subjects import state_key
from schemas.units import NS_PER_SECOND
from shared.state import StateMirrors, read_entry

_MAX_REMEMBERED: Final = 256  # streams whose last recording is still told of
_SUFFIX: Final = state_key("publisher", compound_id("x", RECORDING_OUTPUT)).removeprefix("publisher.x")

ENDED: Final = frozenset({"finished", "failed"})
"""States of a recording that nothing more is written to."""


class EndedRecordings:
    """Sees every recording end in the mesh's state: any publisher may be asked for one that another has written."""

    def __init__(self, mirrors: StateMirrors) -> None:
        self._mirrors = mirrors
        self._seen: dict[str, int] = {}
        """Revisions of the recordings' states that were looked at."""
        self._last: OrderedDict[str, Recording] = OrderedDict()
        """The newest last."""
        mirrors.on_change(self._look)

    def of(self, stream: Id) -> Recording | None:
        """The last one of a stream that has ended since this process began; None when there was none."""
        return self._last.get(stream)

    def _look(self) -> None:
        entries = self._mirrors.actual.entries
        found = {key: entry for key, entry in entries.items() if key.endswith(_SUFFIX)}
        for key, entry in found.items():
            if entry.revision == self._seen.get(key):
                continue
            actual = read_entry(entry, OutputActual)
            if actual is not None and actual.state == "finished":
                self._last[actual.stream] = recording_of(actual)
                self._last.move_to_end(actual.stream)
        self._seen = {key: entry.revision for key, entry in found.items()}
        while len(self._last) > _MAX_REMEMBERED:
            self._last.popitem(last=False)


def recording_of(actual: OutputActual) -> Recording:
    """What is told of a recording in a state."""
    video = actual.video
    return Recording(
        stream=actual.stream,
        recording=actual.state not in ENDED,
        state=actual.state,
        error=actual.error,
        rendition=actual.rendition,
        started_ns=actual.started_ns,
        duration_s=actual.duration_ns / NS_PER_SECOND,
        width=video.width if video else 0,
        height=video.height if video else 0,
        frame_rate=video.fps if video else 0.0,
        file_size=actual.bytes_written,
        file_name=actual.file,
        files=actual.files,
        preroll_s=actual.preroll_ns / NS_PER_SECOND,
    )
