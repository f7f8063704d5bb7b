"""What every kind of output is: a destination that is opened with tracks, written to, and closed."""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from schemas.packets import PacketHeader, Track
from schemas.resources import OutputSpec
from shared.media.mux import TrackParameters


@dataclass(frozen=True)
class OutputSettings:
    """How outputs behave; the service's settings fill it."""

    file_roots: tuple[Path, ...] = ()
    """Folders that recordings may lie in; relative paths start at the first. Without one there are no file outputs."""
    state_dir: Path | None = None
    """Where each file output records how far it has come; None: nowhere, and nothing is resumed."""
    fragment_seconds: float = 1.0
    """What a killed publisher loses of a recording at most; shorter costs about 1 kB per fragment."""
    sync_seconds: float = 5.0
    """A recording is on the disk itself (not in its cache) this often: what a power cut loses. 0: each fragment."""
    min_free_bytes: int = 0
    """No file begins where less is free."""
    network_timeout_seconds: float = 5.0
    """Every wait for a peer: connecting, each answer, each packet that its buffers have no room for."""
    queue_bytes: int = 16 * 1024 * 1024
    """What is kept for a destination that is slow: 4 s of 32 Mbit/s, more than cameras and encoders are set to."""
    queue_packets: int = 4_096
    """15 s of 120 pictures and 100 sound packets per second, and some: as much as a packet ring hands over at once."""
    track_wait_seconds: float = 1.0
    """How long the start waits for a track that is expected but silent; sound packets come every 20 ms."""


class Output(ABC):
    """One destination of one rendition, opened once. Belongs to one thread.

    A new attempt (reconnect, next file) is a new object. Times handed to `write` start near 0 and decoding times
    grow strictly within each track.
    """

    video_codecs: ClassVar[frozenset[str]]
    audio_tracks: ClassVar[tuple[Track, ...]]
    """Carried audio, the preferred first."""
    takes_reordered: ClassVar[bool] = True
    """Pictures may come in another order than they are shown (B-frames)."""

    def __init__(self, spec: OutputSpec, url: str, settings: OutputSettings) -> None:
        """Check the destination without touching it.

        Raises:
            InvalidValue: the URL can never work.
        """
        self.spec, self.settings = spec, settings
        self.bytes_written = 0
        self.file = ""
        """Path of the file being written; empty for a push."""
        self.on_file: Callable[[str], None] = lambda _: None
        """Called from `open` as soon as there is a file, still empty: one that a kill leaves behind is remembered."""
        self.dropped: Counter[str] = Counter()
        """Takes the counts of what was written and is lost on the way, by reason; the writer puts its own here."""
        self.on_need_key: Callable[[], None] = _nobody
        """Called, in this output's thread, when the peer asks for a key picture; the writer puts its own here."""

    @abstractmethod
    def open(self, tracks: Mapping[Track, TrackParameters], start_ns: int) -> None:
        """Open the destination; `start_ns` is the CLOCK_REALTIME of the first picture.

        Raises:
            MeshError: why not, free of secrets.
        """

    @abstractmethod
    def write(self, header: PacketHeader, payload: memoryview, pts_ns: int, dts_ns: int) -> None:
        """Write one packet of a track that was given to `open`.

        Raises:
            MeshError: the destination failed, perhaps at an earlier packet.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish the destination properly. Closing twice, or what is not open, is harmless.

        Raises:
            MeshError: the destination failed.
        """

    def end(self) -> None:  # noqa: B027  # most destinations know no difference
        """Say that nothing follows, not even from a later attempt; after `close`, or instead of `open`.

        Raises:
            MeshError: the destination failed.
        """

    def abort(self) -> None:  # noqa: B027  # most outputs never wait for long
        """Make a call that waits in another thread fail soon. The only method for other threads."""

    @property
    @abstractmethod
    def confirmed(self) -> bool:
        """The destination has taken packets: the file exists, the peer has answered."""

    @property
    def settled_packets(self) -> int:
        """How many of the packets given to `write`, in their order, would survive a kill of this process."""
        return 0

    @property
    def picture_offsets(self) -> deque[int] | None:
        """Of a file that tells: where the pictures begin that would survive a kill, in their order; whoever asks takes
        them out."""
        return None

    @property
    def file_offset(self) -> int:
        """Of a file: the next packet given to `write` will lie at this byte or after it.

        Where a container's piece begins (MP4 fragment, Matroska cluster); no earlier piece holds the packet.
        """
        return 0


def _nobody() -> None:
    """Who is told when nobody wants to know."""
