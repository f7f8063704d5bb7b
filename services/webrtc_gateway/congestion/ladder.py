"""Which step of the ladder a viewer stands on: down soon, up late, and later still after a step that failed."""

from dataclasses import dataclass, field

from services.webrtc_gateway.congestion.line import Sign

_LATER_ROUND_TRIPS = 2.0  # the last of the old packets arrives, and its report
_ENOUGH = 10  # times longer reaches any maximum
_SIGNS_DOWN = 2  # in a row: one report may be of a second in which a neighbour sent a file


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a ladder, in seconds."""

    settle: float = 3.0
    """After a step down: what was too much leaves the line's queue first."""
    calm_before_up: float = 10.0
    """So long nothing may go wrong before more is tried."""
    trial: float = 6.0
    """After a step up the first sign is enough: a report a second, and a queue of some seconds."""
    max_calm_before_up: float = 160.0
    """Each trial that fails doubles the wait up to here: a thin line is disturbed every few minutes, not more."""
    calm_before_probe: float = 4.0
    """Where a probe tells before pictures depend on it: such a try costs a tenth of a second of delay."""
    max_calm_before_probe: float = 20.0
    """Each probe that fails makes the wait half as long again, up to here."""


@dataclass(slots=True)
class Ladder:
    """Step 0 is what was asked for, `lowest` the least there is."""

    lowest: int
    pace: Pace = field(default_factory=Pace)
    step: int = 0
    _signs: int = 0
    _calm_since_s: float | None = None
    _settled_s: float = float("-inf")
    _trial_until_s: float = float("-inf")
    _failed_trials: int = 0
    _failed_probes: int = 0

    def next_step(self, sign: Sign, calm: bool, now_s: float, *, probes: bool = False) -> int:
        """The step to stand on, judged at each new report (monotonic time); `moved` says that it was taken.

        `probes`: a step up is probed before it is taken.
        """
        if sign:
            self._calm_since_s = None
            self._signs += 1
            needed = 1 if now_s < self._trial_until_s else _SIGNS_DOWN
            down = self._signs >= needed and self.step < self.lowest and now_s >= self._settled_s
            return self.step + down
        self._signs = 0
        if not calm:
            self._calm_since_s = None
            return self.step
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        calm_s = now_s - self._calm_since_s
        if self.step == 0:
            if calm_s >= self.pace.max_calm_before_up:
                self._failed_trials = 0
            return 0
        return self.step - (calm_s >= (self._calm_before_probe if probes else self._calm_before_up))

    def moved(self, step: int, now_s: float, rtt_s: float = 0.0) -> None:
        """The viewer gets what step `step` is. A long round trip tells of it that much later, and of what the queue
        still held before."""
        if step > self.step:
            self._failed_trials += now_s < self._trial_until_s
            self._settled_s, self._trial_until_s = now_s + self.pace.settle + _LATER_ROUND_TRIPS * rtt_s, float("-inf")
        else:
            self._trial_until_s = now_s + self.pace.trial
        self.step = step
        self._failed_probes = 0
        self._signs, self._calm_since_s = 0, None

    def not_now(self, now_s: float) -> None:
        """The step could not be taken: begin to wait anew."""
        self._signs, self._calm_since_s = 0, None
        self._settled_s = now_s + self.pace.settle

    def probe_failed(self) -> None:
        """The line does not carry the step above: begin to wait anew."""
        self._failed_probes += 1
        self._signs, self._calm_since_s = 0, None

    @property
    def _calm_before_up(self) -> float:
        return self._doubled(self.pace.calm_before_up)

    @property
    def _calm_before_probe(self) -> float:
        longer = self.pace.calm_before_probe * 1.5 ** min(self._failed_probes, _ENOUGH)
        return max(min(longer, self.pace.max_calm_before_probe), self._doubled(self.pace.calm_before_probe))

    def _doubled(self, seconds: float) -> float:
        return min(seconds * 2.0 ** min(self._failed_trials, _ENOUGH), self.pace.max_calm_before_up)
