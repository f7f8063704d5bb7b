"""The report as people read it."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

from services.cli.doctor.finding import GROUPS, Finding, Group, Level, Report
from services.cli.table import printable

_TITLES: Final[dict[Group, str]] = {
    "software": "SOFTWARE",
    "limits": "LIMITS OF THIS USER",
    "kernel": "KERNEL",
    "containers": "CONTAINER",
    "shm": "SHARED MEMORY",
    "disk": "DISK",
    "clocks": "CLOCKS",
    "encoders": "ENCODERS",
    "devices": "DEVICES",
    "ports": "PORTS",
    "ice": "WAYS OF WEBRTC",
    "nats": "NATS",
    "mesh": "MESH",
}
_SIGNS: Final[dict[Level, str]] = {"ok": "✓", "warning": "!", "wrong": "✗"}
_COLOURS: Final[dict[Level, str]] = {"ok": "\033[32m", "warning": "\033[33m", "wrong": "\033[1;31m"}
_FAINT, _BOLD, _PLAIN = "\033[2m", "\033[1m", "\033[0m"
_MOST_COLUMNS = 120
_FEWEST_COLUMNS = 60
_LONGEST_CHECK = 20


def show(report: Report) -> str:
    """Groups in their order, what is wrong with its fix below it, and a last line that sums up."""
    columns = max(_FEWEST_COLUMNS, min(_MOST_COLUMNS, shutil.get_terminal_size().columns))
    paint = _Paint(_is_coloured())
    width = min(_LONGEST_CHECK, max((len(finding.check) for finding in report.findings), default=0))
    lines = [f"{paint.bold('framemesh doctor')} {paint.faint(f'{report.version} on node {report.node}')}"]
    for group in GROUPS:
        findings = [finding for finding in report.findings if finding.group == group]
        if findings:
            lines += ["", paint.bold(_TITLES[group])]
            for finding in findings:
                lines += _lines(finding, width, columns, paint)
    return "\n".join([*lines, "", _sum(report.findings, report.seconds, paint)])


def _lines(finding: Finding, width: int, columns: int, paint: "_Paint") -> list[str]:
    begin = 4 + width + 2
    text = textwrap.wrap(printable(finding.found), columns - begin, break_on_hyphens=False) or [""]
    sign = paint.level(finding.level, _SIGNS[finding.level])
    lines = [f"  {sign} {printable(finding.check).ljust(width)}  {text[0]}"]
    lines += [" " * begin + more for more in text[1:]]
    if finding.fix and finding.level != "ok":  # never broken: it is copied
        lines.append(f"{' ' * begin}{paint.level(finding.level, '→')} {printable(finding.fix)}")
    return lines


def _sum(findings: Sequence[Finding], seconds: float, paint: "_Paint") -> str:
    count = {level: sum(finding.level == level for finding in findings) for level in _SIGNS}
    parts = []
    if count["wrong"]:
        parts.append(paint.level("wrong", f"{count['wrong']} wrong"))
    if count["warning"]:
        parts.append(paint.level("warning", f"{count['warning']} to look at"))
    parts.append(paint.level("ok", f"{count['ok']} fine"))
    return f"{', '.join(parts)} {paint.faint(f'in {seconds:.1f} s')}"


def _is_coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class _Paint:
    def __init__(self, on: bool) -> None:
        self._on = on

    def level(self, level: Level, text: str) -> str:
        return self._with(_COLOURS[level], text)

    def bold(self, text: str) -> str:
        return self._with(_BOLD, text)

    def faint(self, text: str) -> str:
        return self._with(_FAINT, text)

    def _with(self, code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if self._on else text
