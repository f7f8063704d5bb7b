"""Tables of text."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns of all rows below one another; the last column is not filled up."""
    if not rows:
        return []
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """A stranger's text, on one line: some characters are commands to a terminal."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
