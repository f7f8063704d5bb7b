"""What must be so at every moment: whole pictures, no orphan rings, no leaked leases, bounded processes; and, at the
end, recordings that play, with gaps where something happened and nowhere else."""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from schemas.frames import FrameRef
from schemas.units import NS_PER_SECOND
from shared.bus import Message
from shared.kernel_locks import is_read_locked, is_write_locked
from shared.media import timecode
from shared.pixel_formats import Picture
from shared.recording_index import index_path, read_index
from shared.ring import LeaseError, RingReader
from shared.ring.errors import BadRing
from shared.ring.folder import list_rings, open_ring
from shared.ring.layout import WRITER_LOCK_OFFSET, slot_header_offset
from tests.chaos.full_load import pictures
from tests.chaos.full_load.flows import Flow
from tests.support.processes import below
from tests.support.recorded_set import check_set

ORPHAN_SECONDS: Final = 15.0
"""A ring without a writer, or a second one of its stream; a writer that is frozen for 5 s keeps its own."""
LEASE_SECONDS: Final = 15.0
"""A picture is held for; a reader that is frozen for 5 s holds its own that long."""
MOST_RSS_GROWTH_BYTES: Final = 150 << 20
MOST_FD_GROWTH: Final = 64
"""Of one process since it was ten seconds old: sessions and jobs come and go, so does what they have open."""
_SETTLED_SECONDS: Final = 10.0
RECORDED_GAP_SECONDS: Final = 1.0
_CODE_LATE_NS: Final = 60_000_000_000
_WRONG_KEPT: Final = 100
_NS_PER_MS: Final = 1_000_000
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PRING = ".pring"
_decode: Final = msgspec.json.Decoder(FrameRef).decode


class Wholeness:
    """Leases every picture of some streams and looks at all of it."""

    def __init__(self, shm_dir: Path, flows: dict[str, Flow]) -> None:
        """`flows`: by stream; a whole picture is an arrival."""
        self._reader, self._flows = RingReader(shm_dir), flows
        self.wrong: list[str] = []
        self.whole = self.missed = 0

    def receive(self, message: Message) -> None:
        ref = _decode(message.data)
        try:
            with self._reader.lease(ref) as lease:
                whole = self._is_whole(ref, lease.array)
        except LeaseError:  # this process was late, or the writer has ended
            self.missed += 1
            return
        if whole:
            self.whole += 1
            self._flows[ref.stream].arrive()
        elif len(self.wrong) < _WRONG_KEPT:
            self.wrong.append(f"{ref.stream}: picture {ref.epoch}/{ref.sequence} is torn")

    def _is_whole(self, ref: FrameRef, picture: Picture) -> bool:
        """Of a test source the time code with its CRC; of the application every byte; of a mix that it is there."""
        if ref.stream == pictures.STREAM:
            return pictures.is_whole(picture)
        if ref.stream not in ("cam0", "cam1", "cam2"):
            return True
        code_ms = timecode.read(picture[: ref.height], ref.captured_ns // _NS_PER_MS)
        return code_ms is not None and abs(code_ms * _NS_PER_MS - ref.captured_ns) < _CODE_LATE_NS


class Rings:
    """Looks at the folder now and then: each stream has one ring, its writer lives, and no reader sits on a slot."""

    def __init__(self, shm_dir: Path) -> None:
        self._folder = shm_dir
        self._since: dict[str, float] = {}
        """Since when something that may pass is so."""
        self.wrong: list[str] = []

    def look(self, now: float | None = None) -> None:
        """`now`: monotonic, in seconds; left out, it is."""
        now = time.monotonic() if now is None else now
        passing = {**dict.fromkeys(self._orphans(), ORPHAN_SECONDS), **dict.fromkeys(self._held(), LEASE_SECONDS)}
        for what, seconds in passing.items():
            since = self._since.setdefault(what, now)
            if now - since > seconds and len(self.wrong) < _WRONG_KEPT:
                self.wrong.append(f"{what} for {seconds:g} s")
                self._since[what] = float("inf")  # told once
        self._since = {what: since for what, since in self._since.items() if what in passing}

    def _orphans(self) -> Iterable[str]:
        families: dict[str, list[str]] = {}
        for path in self._folder.glob("*.*ring"):
            families.setdefault(f"{path.name.split('.')[0]}{path.suffix}", []).append(path.name)
            if path.suffix == _PRING and not self._written(path.name):
                yield f"{path.name} has no writer"
        yield from (f"{one.name} has no writer" for one in list_rings(self._folder) if not one.writer_alive)
        yield from (f"{names} are all of {family}" for family, names in families.items() if len(names) > 1)

    def _written(self, name: str) -> bool:
        try:
            fd = open_ring(self._folder, name, os.O_RDONLY)
        except (OSError, BadRing):  # gone meanwhile
            return True
        try:
            return is_write_locked(fd, WRITER_LOCK_OFFSET)
        finally:
            os.close(fd)

    def _held(self) -> Iterable[str]:
        """Slots of rings that are written, whose picture somebody holds."""
        for entry in list_rings(self._folder):
            if not entry.writer_alive:
                continue
            with contextlib.suppress(OSError, BadRing):
                fd = open_ring(self._folder, entry.name, os.O_RDONLY)
                try:
                    for slot in range(entry.header.slots):
                        offset = slot_header_offset(slot)
                        sequence = int.from_bytes(os.pread(fd, 8, offset), "little")
                        # The newest may be held for as long as no other comes, by whoever shows it meanwhile.
                        if sequence < entry.header.last_sequence and is_read_locked(fd, offset):
                            yield f"{entry.name}: a reader holds picture {sequence} in slot {slot}"
                finally:
                    os.close(fd)


class _Process(NamedTuple):
    since: float
    name: str
    rss_bytes: int
    fds: int


class Processes:
    """Every process of the mesh: what it has grown by since it was settled."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._began: dict[int, float] = {}
        self._settled: dict[int, _Process] = {}
        self._told: set[int] = set()
        self.wrong: list[str] = []
        self.most_rss_bytes = 0
        """Of all together."""

    def look(self) -> None:
        now = time.monotonic()
        pids = list(below(self._root))
        total_bytes = 0
        for pid in pids:
            try:
                rss_bytes = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
                fds = len(os.listdir(f"/proc/{pid}/fd"))
                name = " ".join(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:4])
            except OSError:  # it has ended meanwhile
                continue
            total_bytes += rss_bytes
            if now - self._began.setdefault(pid, now) < _SETTLED_SECONDS:
                continue
            first = self._settled.setdefault(pid, _Process(now, name, rss_bytes, fds))
            grown = f"{rss_bytes - first.rss_bytes >> 20} MiB and {fds - first.fds} files in {now - first.since:.0f} s"
            if pid not in self._told and (
                rss_bytes - first.rss_bytes > MOST_RSS_GROWTH_BYTES or fds - first.fds > MOST_FD_GROWTH
            ):
                self._told.add(pid)
                self.wrong.append(f"{name} ({pid}) has grown by {grown}")
        self.most_rss_bytes = max(self.most_rss_bytes, total_bytes)
        self._began = {pid: began for pid, began in self._began.items() if pid in pids}
        self._settled = {pid: first for pid, first in self._settled.items() if pid in pids}


class Window(NamedTuple):
    """When something was disturbed, CLOCK_REALTIME in ns."""

    what: str
    begin_ns: int
    end_ns: int


def check_recordings(files: Sequence[Path], windows: Sequence[Window]) -> list[str]:
    """What is wrong with closed files: each must play and be as its index says, and each gap must be explained."""
    wrong, times = [], []
    for file in files:
        try:
            check_set([file])
        except (AssertionError, OSError, KeyError, ValueError) as error:
            wrong.append(f"{file.name} does not play: {str(error)[:300]}")
            continue
        times += [int(at) for at in read_index(index_path(file)).records["captured_ns"]]
    times.sort()
    for before_ns, after_ns in pairwise(times):
        if after_ns - before_ns > RECORDED_GAP_SECONDS * NS_PER_SECOND and not any(
            window.begin_ns < after_ns and before_ns < window.end_ns for window in windows
        ):
            wrong.append(
                f"recordings lack {(after_ns - before_ns) / NS_PER_SECOND:.2f} s "
                f"from {before_ns / NS_PER_SECOND:.2f} on, and nothing was disturbed then"
            )
    return wrong
