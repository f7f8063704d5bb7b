"""How much of a machine one video may take."""

import threading
import time
from dataclasses import dataclass

from services.frame_extractor.engine.errors import VideoError


@dataclass(frozen=True, slots=True)
class Limits:
    """What a video may be and take; beyond it VideoError."""

    pixels: int = 8192 * 4320
    """Of one picture: 8K in its widest form."""
    duration_s: float = 86_400.0
    """A day."""
    wall_s: float = 3_600.0
    """From the begin of `take` to its end."""
    pictures: int = 100_000
    """That one sampling may ask for."""

    def check_size(self, width: int, height: int) -> None:
        """Raises:
        VideoError: "video".
        """
        if width * height > self.pixels:
            raise VideoError("video", f"the video is {width}x{height}, more than {self.pixels} pixels are not taken")

    def check_duration(self, duration_s: float) -> None:
        """Raises:
        VideoError: "video".
        """
        if duration_s > self.duration_s:
            raise VideoError(
                "video", f"the video is {duration_s:.1f} s long, more than {self.duration_s:g} s are not taken"
            )

    def check_pictures(self, count: int) -> None:
        """Raises:
        VideoError: "parameter".
        """
        if count > self.pictures:
            raise VideoError(
                "parameter",
                f"{count} pictures are asked for; take at most {self.pictures}: fewer per second, a later start_s, "
                "an earlier end_s, or max_frames",
            )


class Halt(threading.Event):
    """Set when the caller stops, when one of the threads failed, or when the time is over."""

    def __init__(self, stop: threading.Event, wall_s: float) -> None:
        super().__init__()
        self._stop = stop
        self._wall_s = wall_s
        self._deadline = time.monotonic() + wall_s

    def is_set(self) -> bool:
        return super().is_set() or self._stop.is_set() or time.monotonic() > self._deadline

    def check_time(self) -> None:
        """Raises:
        VideoError: "timeout".
        """
        if not self._stop.is_set() and time.monotonic() > self._deadline:
            raise VideoError("timeout", f"the video takes longer than {self._wall_s:g} s")
