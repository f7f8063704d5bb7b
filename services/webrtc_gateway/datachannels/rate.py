"""How much of something there may be per second: a token bucket."""

import time


class Rate:
    """Gives `per_second` tokens a second, and at most `burst` at once."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._tokens = burst
        self._filled_s = time.monotonic()

    @property
    def left(self) -> float:
        """Tokens there are now; below zero after a `spend` of more than there were."""
        now_s = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._per_second)
        self._filled_s = now_s
        return self._tokens

    def take(self) -> bool:
        """Take one token; False when there is none."""
        if self.left < 1:
            return False
        self._tokens -= 1
        return True

    def spend(self, tokens: float) -> None:
        """Take what has been used already, also when there is less."""
        self._tokens -= tokens
