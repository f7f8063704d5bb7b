"""One target under coverage guidance (libFuzzer, through Atheris), in a process of its own made by `fork`.

What the product's modules do is seen by instrumenting their bytecode as they are imported, which is done once, by the
parent. libFuzzer ends a process at its first finding; here all of them are judged, kept once each, and counted.
"""

import json
import logging
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.fuzz.mutators import MOST_BYTES
from tests.fuzz.target import Finding, Target, judge

PACKAGES: Final = ("schemas", "services", "shared")
_PAGE_KIB: Final = resource.getpagesize() // 1024
_WARM_SHARE: Final = 0.3  # of the time: by then caches are full, and what grows on is growth
_OWN_SHARE: Final = 0.5  # of the inputs the target's mutator makes; of the others libFuzzer's
_MEMORY_MIB: Final = 2_048  # of the whole process; libav decodes with a few hundred
_SHOWN_CHARACTERS: Final = 2_000


@dataclass
class Outcome:
    """What came of one target's share."""

    target: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    grown_kib: int = 0
    """Of the process's memory, from the time when it was warm to the end."""
    slowest_ms: float = 0.0
    kept: int = 0
    """Inputs that led to code that none before had led to."""
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: str = "in time"


class FormattedLogs(logging.Handler):
    """Log lines are made and thrown away: what is wrong with one shows."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


def quiet_logs() -> None:
    root = logging.getLogger()
    root.handlers[:] = [FormattedLogs()]
    root.setLevel(logging.DEBUG)
    logging.getLogger("libav").setLevel(logging.CRITICAL)


def fuzz(target: Target, seconds: float, seed: int, report: Path) -> None:
    """Try inputs for so long, write the `Outcome` as JSON, and end the process."""
    import atheris

    outcome = Outcome(target.name)
    began_s, warm_kib = time.monotonic(), 0
    corpus = Path(tempfile.mkdtemp(prefix="framemesh-fuzz-corpus-"))
    quiet_logs()

    def note() -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        outcome.seconds = round(time.monotonic() - began_s, 2)
        outcome.cpu_seconds = round(usage.ru_utime + usage.ru_stime, 2)
        outcome.grown_kib = _resident_kib() - warm_kib if warm_kib else 0
        outcome.kept = len(list(corpus.iterdir())) - len(target.given)
        report.write_text(json.dumps(vars(outcome)))

    def one(data: bytes) -> None:
        nonlocal warm_kib
        past_s = time.monotonic() - began_s
        if not warm_kib and past_s > seconds * _WARM_SHARE:
            warm_kib = _resident_kib()
        if past_s > seconds:
            note()
            os._exit(0)  # libFuzzer has no other end that leaves the parent its report
        before_s = time.process_time()
        found = judge(target, data)
        outcome.slowest_ms = max(outcome.slowest_ms, round((time.process_time() - before_s) * 1e3, 1))
        outcome.inputs += 1
        if found is not None:
            _add(outcome, found)
            note()

    def mutated(data: bytes, most_bytes: int, number: int) -> bytes:
        dice = Random(number)
        if dice.random() > _OWN_SHARE:
            return bytes(atheris.Mutate(data, most_bytes))
        return target.mutate(dice, data, target.given)[:most_bytes]

    for number, data in enumerate(target.given):
        (corpus / f"seed-{number}").write_bytes(data)
    note()
    arguments = (
        f"-seed={seed}",
        f"-max_len={MOST_BYTES}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        "-timeout=60",  # seconds; what takes a second is judged before
        "-verbosity=0",
        "-print_final_stats=0",
        str(corpus),
    )
    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutated)
    atheris.Fuzz()


def _add(outcome: Outcome, found: Finding) -> None:
    kept = outcome.findings.setdefault(
        found.key, {"count": 0, "text": found.text[-_SHOWN_CHARACTERS:], "data": found.data.hex()}
    )
    kept["count"] += 1
    if len(found.data) * 2 < len(kept["data"]):  # the shortest tells most
        kept["data"] = found.data.hex()


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KIB
