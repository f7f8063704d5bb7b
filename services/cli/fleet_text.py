"""The fleet as text."""

import time
from collections.abc import Sequence

from schemas.fleet import FleetList, FleetMember, LogLine
from services.cli.table import printable, table

_HEADER = ("NAME", "NODE", "STATE", "HEALTH", "PROCESS", "UP", "RESTARTS", "CPU", "MEMORY", "VERSION")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def member_name(service: str, instance: int) -> str:
    """As the command line takes it."""
    return f"{service}-{instance}" if instance > 1 else service


def describe_fleet(lists: Sequence[FleetList]) -> str:
    """A table, and what is wrong with some."""
    members = [member for listed in lists for member in listed.members]
    if not members:
        return "nothing runs"
    lines = table([_HEADER, *(_row(member, time.time_ns()) for member in members)])
    troubles = [f"  {member_name(m.service, m.instance)}: {printable(m.detail)}" for m in members if m.detail]
    return "\n".join([*lines, *(["", "PROBLEMS", *troubles] if troubles else [])])


def describe_lines(service: str, lines: Sequence[LogLine]) -> list[str]:
    """Each with the name of who said it."""
    return [printable(f"{member_name(service, line.instance)} | {line.text}") for line in lines]


def _row(member: FleetMember, now_ns: int) -> tuple[str, ...]:
    runs = member.state == "running"
    return (
        member_name(member.service, member.instance),
        member.node,
        member.state,
        member.health if runs else "-",
        member.container or (str(member.pid) if member.pid else "-"),
        _duration(now_ns - member.started_ns) if runs and member.started_ns else "-",
        str(member.restarts),
        f"{member.cpu_percent:.0f}%" if runs else "-",
        f"{member.rss_bytes / 1e6:.0f} MB" if runs and member.rss_bytes else "-",
        member.version or "-",
    )


def _duration(duration_ns: int) -> str:
    seconds = max(duration_ns, 0) // 10**9
    for size_seconds, unit in _UNITS:
        if seconds >= size_seconds:
            return f"{seconds // size_seconds}{unit}"
    return "0s"
