"""The blocks of code in the documents, and the lines of those that a shell takes."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.md")))
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SHELL = ("sh", "bash")
_COMMENT = re.compile(r"(^|\s)#\s.*$")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    """Of its first line in the page, from 1 on."""
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> list[Block]:
    """Of all pages, in order; the language of a shell's is `sh`."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in _BLOCK.finditer(text):
            indent, language, body = match.groups()
            body = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
            line = text.count("\n", 0, match.start()) + 2
            found.append(Block(page, line, "sh" if language in _SHELL else language, body))
    return found


def commands(text: str) -> list[str]:
    """The lines of a block for a shell, without comments; a loop is one, and so is what goes on behind a backslash."""
    lines: list[str] = []
    depth = 0
    for line in text.replace("\\\n", " ").splitlines():
        command = _COMMENT.sub("", line).strip()
        if not command:
            continue
        if depth:
            lines[-1] += "\n" + command
        else:
            lines.append(command)
        depth += len(re.findall(r"\bdo$", command)) - len(re.findall(r"^done\b", command))
    return lines
