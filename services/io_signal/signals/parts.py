"""What the outputs of this node share."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from schemas.signal_resources import SignalActual, SignalSpec
from services.io_signal.link.hand_link import HandLink
from services.io_signal.settings import IoSignalSettings
from services.io_signal.signals.audit import Audit
from services.io_signal.signals.off_mode import OffModeFile
from shared.desired import Desired
from shared.metrics import Distribution
from shared.reconcile import Reporter
from shared.service import Context

SERVICE = "io-signal"
Signals = Desired[SignalSpec, SignalActual]

# 10 ms is what a command may take on a machine that is not loaded.
_LATENCY_BOUNDS_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_CAPTURE_BOUNDS_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_KEEP_BOUNDS_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class FindsCaptures(Protocol):
    """Of `inputs.frame_times`."""

    def find(self, stream: str, epoch: int | None, sequence: int) -> int | None: ...


@dataclass
class SignalFigures:
    """Of one output, since the service began."""

    latency: Distribution = field(default_factory=lambda: Distribution(_LATENCY_BOUNDS_SECONDS))
    """From a command's arrival at the service to the device's edge."""
    since_capture: Distribution = field(default_factory=lambda: Distribution(_CAPTURE_BOUNDS_SECONDS))
    keep_error: Distribution = field(default_factory=lambda: Distribution(_KEEP_BOUNDS_SECONDS))
    """How long after the end of its keep time it was off."""
    results: Counter[str] = field(default_factory=Counter)
    """Commands by what came of them: `done`, or the code of the error."""
    causes: Counter[str] = field(default_factory=Counter)
    """Changes by their cause."""


@dataclass(frozen=True)
class SignalParts:
    context: Context[IoSignalSettings]
    reporter: Reporter
    signals: Signals
    link: HandLink
    off_mode: OffModeFile
    audit: Audit
    captures: FindsCaptures
    running: set[str] = field(default_factory=set)
    figures: dict[str, SignalFigures] = field(default_factory=dict)
    """By signal; those of one that is taken away go with it."""
