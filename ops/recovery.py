"""The tables of README.md that tell what each failure costs, of what `make chaos` has found."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ops.tables import table
from schemas.service_table import SERVICE_TABLE

RESULT = Path(__file__).parents[1] / "tests" / "chaos" / "results" / "recovery.json"
_OF_SERVICES = {
    "killed": "kill {}",
    "frozen": "freeze {}",
    "cut from the bus": "cut the bus from {}",
    "clock stepped": "step the clock of {}",
}
_NOT_TRIED = "-"


def recovery() -> str:
    """Median and worst seconds, by service and by what else may happen."""
    if not RESULT.exists():
        return "Not measured yet: `make chaos`."
    found = json.loads(RESULT.read_text())
    rows: dict[str, Mapping[str, Any]] = found["recovery"]
    services = [one.name for one in SERVICE_TABLE]
    by_service = [
        (service, *(_cell(rows.get(kind.format(service))) for kind in _OF_SERVICES.values())) for service in services
    ]
    told = {kind.format(service) for kind in _OF_SERVICES.values() for service in services}
    others = [(kind, _cell(row), row["last"]) for kind, row in rows.items() if kind not in told]
    return "\n\n".join(
        (
            table(("service", *_OF_SERVICES), by_service),
            table(("what else", "s", "what was last to be back"), others),
            f"{found['disturbances']} of them in {found['seconds']} s, seed {found['seed']}; "
            f"the machine was {found['slowness']:.1f} times as slow as that of the other figures.",
        )
    )


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return _NOT_TRIED
    median, worst = row["median_s"], row["worst_s"]
    return f"{median:.1f}" if row["times"] == 1 else f"{median:.1f} ({worst:.1f})"


TABLES: Mapping[str, Callable[[], str]] = {"recovery": recovery}
