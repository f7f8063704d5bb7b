"""Random trouble under a full load, in an order that a seed repeats; as root:

    python -m tests.chaos.full_load [--seconds 600] [--seed 7] [--short] [--only KIND,…] [--no-browser]

Writes tests/chaos/results/RECOVERY.md and recovery.json; exits with 1 when a rule is broken.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from schemas.units import NS_PER_SECOND
from tests.chaos.full_load.disturbances import Disturbance, OutputStayedOn, deck
from tests.chaos.full_load.invariants import Window, check_recordings
from tests.chaos.full_load.load import FullLoad
from tests.chaos.full_load.recovery import Recovered, markdown, recover, table, write

SECONDS: Final = 600.0
SEED: Final = 7
_CALM_SECONDS: Final = (0.0, 3.0)
_STEP_BACK_NS: Final = NS_PER_SECOND
"""What is recorded when a disturbance begins may be of a moment ago."""


def dealt(cards: list[Disturbance], dice: random.Random, rounds: int = 0) -> Iterator[Disturbance]:
    """The whole deck in random order, again and again; `rounds`: so often, 0 for ever."""
    done = 0
    while not rounds or done < rounds:
        yield from dice.sample(cards, len(cards))
        done += 1


def hold_out(
    seconds: float, seed: int, cards: list[Disturbance], *, rounds: int = 0, browser: bool = True, calm: bool = True
) -> dict[str, Any]:
    """Disturb for so long, or so many rounds; what came of it.

    Returns:
        `recovered` (a list of `Recovered`), `wrong` (lines; none when every rule was kept), and figures of the run.
    """
    dice = random.Random(seed)
    recovered: list[Recovered] = []
    windows: list[Window] = []
    wrong: list[str] = []
    with FullLoad(browser=browser) as load:
        recover(load, "start", time.monotonic())
        windows.append(Window("start", 0, time.time_ns()))
        began = time.monotonic()
        for card in dealt(cards, dice, rounds):
            if seconds and time.monotonic() - began > seconds:
                break
            begin_ns = time.time_ns() - _STEP_BACK_NS
            try:
                card.run(load, dice)
            except OutputStayedOn as error:
                wrong.append(str(error))
            found = recover(load, card.kind, time.monotonic())
            windows.append(Window(card.kind, begin_ns, time.time_ns()))
            recovered.append(found)
            print(f"{time.monotonic() - began:6.1f} s  {card.kind}: {found.seconds:.2f} s  {found.flow}", flush=True)
            if not found.well:
                wrong.append(f"{card.kind}: recovered after {found.seconds:.1f} s; {found.flow}")
            if calm:
                time.sleep(dice.uniform(*_CALM_SECONDS))
        took_seconds = time.monotonic() - began
        seen = load.judged()
        wrong += seen["wrong"] + check_recordings(load.closed_recordings(), windows)
        if wrong:
            print(load.log_tail(), file=sys.stderr)
        return {
            "recovered": recovered,
            "wrong": wrong,
            "seconds": round(took_seconds),
            "seed": seed,
            "disturbances": len(recovered),
            "slowness": round(load.slowness, 2),
            **seen["counts"],
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="Random trouble under a full load.")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--short", action="store_true", help="the cheapest kinds, each once")
    parser.add_argument("--only", default="", metavar="KIND,…", help="kinds whose name has one of these in it")
    parser.add_argument("--no-browser", action="store_true", help="without Chromium")
    parser.add_argument(
        "--results", type=Path, default=None, help="the folder of the table; none with --only or --short"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # mounts and processes are given back then, too
    cards = [card for card in deck(options.short) if any(part in card.kind for part in options.only.split(","))]
    if not cards:
        parser.error(f"--only {options.only}: the kinds are {', '.join(card.kind for card in deck())}")
    told = hold_out(options.seconds, options.seed, cards, rounds=int(options.short), browser=not options.no_browser)
    recovered = told.pop("recovered")
    print(markdown(table(recovered)))
    for line in told["wrong"]:
        print(f"WRONG: {line}")
    print({name: value for name, value in told.items() if name != "wrong"})
    if options.results is not None:
        write(recovered, told, options.results)
    elif not (options.only or options.short):
        write(recovered, told)
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
