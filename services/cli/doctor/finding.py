"""What the doctor has found."""

from typing import Final, Literal, get_args

from msgspec import Struct

Level = Literal["ok", "warning", "wrong"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
Group = Literal[
    "software", "limits", "kernel", "containers", "shm", "disk", "clocks", "encoders", "devices", "ports", "ice",
    "nats", "mesh",
]  # fmt: skip
GROUPS: Final[tuple[Group, ...]] = get_args(Group)


class Finding(Struct, frozen=True):
    """One thing that was looked at. `fix` begins with a command to copy wherever one can be given."""

    group: Group
    check: str
    level: Level
    found: str
    fix: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """All of it, as `framemesh doctor --json` prints it."""

    worst: Level
    node: str
    version: str
    seconds: float
    findings: tuple[Finding, ...]


def worst(findings: tuple[Finding, ...]) -> Level:
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")
