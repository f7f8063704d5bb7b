"""What the inputs of one service share."""

from dataclasses import dataclass
from typing import Any

from schemas.signal_resources import InputActual, InputSpec
from services.io_signal.inputs.following import Following
from services.io_signal.inputs.values import ValuePoster
from services.io_signal.link.hand_link import HandLink
from shared.desired import Desired
from shared.reconcile import Reporter
from shared.service import Context

SERVICE = "io-signal"
AllInputs = Desired[InputSpec, InputActual]


@dataclass(frozen=True)
class InputParts:
    context: Context[Any]
    reporter: Reporter
    inputs: AllInputs
    hand: HandLink
    following: Following
    values: ValuePoster
