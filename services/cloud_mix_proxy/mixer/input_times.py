"""When pictures and sound of one input are to be seen and heard."""

from typing import Final

from services.cloud_mix_proxy.mixer.timeline import Timeline

_SLACK_NS: Final = 30_000_000
"""Sound that comes so much later than its pictures is still in time; beyond, the pictures wait for it."""


class InputTimes:
    """One difference between an input's media clock and CLOCK_REALTIME, for both.

    They are seen as old as they are, unless they come later than a mix can wait: then as old as it can. One that
    comes later than the other holds it back.
    """

    def __init__(self, within_ns: int) -> None:
        """`within_ns`: what has been under way for longer would come too late for its moment."""
        self._within_ns = within_ns
        self._pictures: Timeline | None = None
        self._sound: Timeline | None = None

    def saw_picture(self, pts_ns: int, captured_ns: int, arrived_ns: int) -> None:
        """All but `pts_ns` are CLOCK_REALTIME."""
        if self._pictures is None:
            self._pictures = Timeline()
        self._pictures.saw(pts_ns, self._seen(captured_ns, arrived_ns))

    def saw_sound(self, pts_ns: int, captured_ns: int, arrived_ns: int) -> None:
        if self._sound is None:
            self._sound = Timeline()
        self._sound.saw(pts_ns, self._seen(captured_ns, arrived_ns))

    @property
    def offset_ns(self) -> int:
        """What is added to a time on the stream's timeline to have CLOCK_REALTIME."""
        pictures, sound = self._pictures, self._sound
        if pictures is None:
            return 0 if sound is None else sound.at(0)
        return pictures.at(0) if sound is None else max(pictures.at(0), sound.at(-_SLACK_NS))

    def _seen(self, captured_ns: int, arrived_ns: int) -> int:
        # Nothing is captured after it has come, whatever an application says: it would never be shown.
        return min(max(captured_ns, arrived_ns - self._within_ns), arrived_ns)
