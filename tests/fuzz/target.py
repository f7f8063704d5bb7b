"""What a fuzz target is, and how one input is judged."""

import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Final

from tests.fuzz.mutators import Mutator, mutate_bytes

ROOT: Final = Path(__file__).parents[2]
_CPU_SECONDS: Final = 1.0
"""Of one input. Each is a few kilobytes and costs below a millisecond; a loop that is held up for a second is noticed
by everybody."""
_OURS: Final = ("schemas", "services", "shared")


@dataclass(frozen=True)
class Target:
    """One way in, with what may come of it."""

    name: str
    run: Callable[[bytes], object]
    """Takes any bytes. It may assert what must hold of what was taken."""
    seeds: Callable[[], Sequence[bytes]]
    """Inputs that are taken, or nearly: what is tried is made of them. They are made in the process that tries."""
    may_raise: tuple[type[BaseException], ...] = ()
    """What the entry point documents; anything else is a finding."""
    mutate: Mutator = mutate_bytes
    cpu_seconds: float = _CPU_SECONDS
    share: int = 1
    """Of the time that all targets have."""

    @cached_property
    def given(self) -> tuple[bytes, ...]:
        return tuple(self.seeds())

    def inputs(self, dice: Random, count: int) -> list[bytes]:
        """The seeds, and then what the dice make of them."""
        made = list(self.given)
        while len(made) < count:
            data = dice.choice(self.given)
            for _ in range(dice.choice((1, 1, 1, 2, 5))):
                data = self.mutate(dice, data, self.given)
            made.append(data)
        return made[: max(count, len(self.given))]


@dataclass(frozen=True)
class Finding:
    """One input that broke the rules."""

    kind: str
    """The exception's name, or `slow`."""
    place: str
    """The line of ours nearest to it."""
    text: str
    data: bytes

    @property
    def key(self) -> str:
        """Findings with the same one have the same cause, as far as a program can tell."""
        return f"{self.kind} at {self.place}"


def judge(target: Target, data: bytes) -> Finding | None:
    """Try one input; None: the rules hold."""
    began_s = time.process_time()
    try:
        target.run(data)
    except target.may_raise:
        pass
    except Exception as error:  # whatever it is, it is the finding
        return Finding(type(error).__name__, _place(error), f"{error}\n{traceback.format_exc()}", data)
    used_s = time.process_time() - began_s
    if used_s > target.cpu_seconds:
        # Others share the processor, but not its time of this process: once more, and the quicker one counts.
        began_s = time.process_time()
        with contextlib.suppress(*target.may_raise):
            target.run(data)
        used_s = min(used_s, time.process_time() - began_s)
    if used_s > target.cpu_seconds:
        return Finding("slow", target.name, f"{used_s:.2f} s of CPU; {target.cpu_seconds} s are allowed", data)
    return None


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    named = [(Path(frame.filename), frame.lineno) for frame in frames]
    ours = [(path.relative_to(ROOT), line) for path, line in named if path.is_relative_to(ROOT)]
    product = [(path, line) for path, line in ours if path.parts[0] in _OURS]
    path, line = (product or ours or named)[-1]
    return f"{path}:{line}"
