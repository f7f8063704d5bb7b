"""How loud a publisher's sound is, and whether somebody speaks: from the level that each packet carries (RFC 6464)."""

from collections.abc import Callable, Mapping

SILENCE_DBOV = -127.0
_LOUD_DBOV = -50.0  # a voice near a microphone has -35 to -15, a quiet room's noise less than -55
_ABOVE_FLOOR_DB = 12.0  # a voice stands out of the room's noise by this; engines and fans do not
_FIRST_FLOOR_DBOV = -60.0
_FLOOR_RISE_DB_PER_SECOND = 1.0  # voices pause within seconds, which takes the floor down again; a fan never does
_BEGINS_AFTER_SECONDS = 0.12  # a click or a key stroke is shorter, a syllable longer
HOLD_SECONDS = 2.0  # people stop to breathe and to think
_STEP_SECONDS = 0.06  # a packet of Opus is at most that long; what is further apart was silence that is not sent
_SMOOTH_SECONDS = 0.2  # a meter that people can read
_STALE_SECONDS = 1.0  # DTX sends a packet every 0.4 s
_LEVEL_BITS = 0x7F


class VoiceLevel:
    """Of one publisher's sound. The bit for voice activity is not read: browsers set it in every packet of Opus."""

    def __init__(self, extension_id: int) -> None:
        """`extension_id`: of `urn:ietf:params:rtp-hdrext:ssrc-audio-level`, as agreed on."""
        self.speaking = False
        self.changed: Callable[[bool], None] = lambda speaking: None
        """Called when somebody begins or ends to speak."""
        self._id = extension_id
        self._level_dbov = SILENCE_DBOV
        self._floor_dbov = _FIRST_FLOOR_DBOV
        self._heard_s: float | None = None
        self._loud_s = float("-inf")
        self._loud_for_seconds = 0.0

    def take(self, extensions: Mapping[int, bytes], now_s: float) -> None:
        """The header extensions of a packet that arrives at `now_s`, in monotonic seconds."""
        value = extensions.get(self._id)
        if not value:
            return
        level = -float(value[0] & _LEVEL_BITS)
        step = _STEP_SECONDS if self._heard_s is None else min(max(now_s - self._heard_s, 0.0), _STEP_SECONDS)
        self._heard_s = now_s
        self._level_dbov += (level - self._level_dbov) * min(1.0, step / _SMOOTH_SECONDS)
        self._floor_dbov = min(self._level_dbov, self._floor_dbov + _FLOOR_RISE_DB_PER_SECOND * step)
        if level >= max(_LOUD_DBOV, self._floor_dbov + _ABOVE_FLOOR_DB):
            self._loud_for_seconds = min(self._loud_for_seconds + step, _BEGINS_AFTER_SECONDS)
            # Sound that is louder for a moment goes on with a voice, and begins none.
            if self.speaking or self._loud_for_seconds >= _BEGINS_AFTER_SECONDS:
                self._loud_s = now_s
        else:
            self._loud_for_seconds = max(0.0, self._loud_for_seconds - step)
        self.look(now_s)

    def look(self, now_s: float) -> None:
        """Judge anew; also when nothing comes."""
        speaking = now_s - self._loud_s < HOLD_SECONDS
        if speaking != self.speaking:
            self.speaking = speaking
            self.changed(speaking)

    def level_dbov(self, now_s: float) -> float | None:
        """Smoothed over 0.2 s; 0 is as loud as it gets, -127 silence. None: no sound comes."""
        if self._heard_s is None or now_s - self._heard_s > _STALE_SECONDS:
            return None
        return round(self._level_dbov, 1)
