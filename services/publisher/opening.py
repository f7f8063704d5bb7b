"""What an output needs before it can be opened: a key picture, and the parameters of its tracks."""

import time
from collections import deque
from collections.abc import Collection, Sequence

from schemas.packets import Track
from services.publisher.packet_queue import QueuedPacket
from shared.media.mux import TrackParameters

# An encoder just started gives its first picture later than the sound of that moment: over a second of sound.
_EARLY_SOUND_PACKETS = 64

NO_REORDERED = "cannot carry B-frames; choose rendition main, or one with b_frames 0"


def cannot_carry(video_codecs: Collection[str], codec: str) -> str:
    """Why pictures of `codec` cannot go to an output that carries `video_codecs`; empty when they can."""
    if codec in video_codecs:
        return ""
    return f"cannot carry {codec}; choose a rendition with {' or '.join(sorted(video_codecs))}"


class TrackBoard:
    """Knows the tracks of the rendition as they show themselves, and which of them an output takes."""

    def __init__(
        self,
        video_codecs: Collection[str],
        audio_tracks: Sequence[Track],
        expected: Collection[Track] | None,
        *,
        reordered: bool = True,
    ) -> None:
        """`audio_tracks`: what the output carries, the preferred first; `expected`: None when nobody knows.

        `reordered`: it carries B-frames.
        """
        self.video_codecs = sorted(video_codecs)
        """What the output carries."""
        self._audio_tracks = audio_tracks
        self._expected = expected
        self._parameters: dict[Track, TrackParameters] = {}
        self._reordered = reordered
        self.refused = ""
        """Why pictures that were seen cannot be carried, and what to do."""

    def note(self, packet: QueuedPacket) -> None:
        """Learn from a packet."""
        header = packet.header
        if header.track == "video" and header.reordered and not self._reordered:
            self.refused = NO_REORDERED
            return
        parameters = TrackParameters.from_header(header)
        if parameters is None:
            return
        if header.track == "video" and (refused := cannot_carry(self.video_codecs, header.codec)):
            self.refused = refused
            return
        self._parameters[header.track] = parameters

    @property
    def chosen(self) -> dict[Track, TrackParameters]:
        """Video and the most preferred audio of what is known."""
        names: list[Track] = ["video", *[name for name in self._audio_tracks if name in self._parameters][:1]]
        return {name: self._parameters[name] for name in names if name in self._parameters}

    @property
    def wanted_audio(self) -> Track | None:
        """The audio to wait for: the most preferred that is expected, None when no sound is."""
        if self._expected is None:
            return self._audio_tracks[0] if self._audio_tracks else None
        return next((name for name in self._audio_tracks if name in self._expected), None)

    @property
    def complete(self) -> bool:
        """Nothing better can come than what `chosen` has."""
        wanted = self.wanted_audio
        return "video" in self._parameters and (wanted is None or wanted in self._parameters)

    @property
    def missing(self) -> tuple[Track, ...]:
        """Expected tracks that have not shown themselves."""
        wanted = self.wanted_audio
        return (wanted,) if self._expected is not None and wanted and wanted not in self._parameters else ()


class Opening:
    """Holds packets from the first key picture on, until the tracks are known or waiting for them is over."""

    def __init__(self, board: TrackBoard, wait_seconds: float, max_bytes: int) -> None:
        self._board = board
        self._wait_seconds, self._max_bytes = wait_seconds, max_bytes
        self._bytes = 0
        self._deadline: float | None = None
        self._early_sound: deque[QueuedPacket] = deque(maxlen=_EARLY_SOUND_PACKETS)
        self.held: list[QueuedPacket] = []
        self.skipped = 0
        """Packets before the first key picture."""

    def add(self, packet: QueuedPacket) -> None:
        self._board.note(packet)
        header = packet.header
        if not self.held and not (header.track == "video" and header.key and "video" in self._board.chosen):
            self.skipped += 1
            if header.track != "video":
                self._early_sound.append(packet)
            return
        if self._deadline is None:
            self._deadline = time.monotonic() + self._wait_seconds
        self._hold(packet)
        while self._early_sound:  # sound that overtook its picture belongs to it all the same
            sound = self._early_sound.popleft()
            if sound.header.run == header.run and sound.header.pts_ns >= header.pts_ns:
                self.skipped -= 1
                self._hold(sound)

    def _hold(self, packet: QueuedPacket) -> None:
        self.held.append(packet)
        self._bytes += len(packet.payload)

    @property
    def ready(self) -> bool:
        """The output can be opened: with everything that is expected, or without what is late."""
        return self._deadline is not None and (
            self._board.complete or self._bytes >= self._max_bytes or time.monotonic() >= self._deadline
        )
