"""Pictures of numbers as SVG: text, lines and boxes, and nothing that needs a browser's fonts or a network."""

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

INK, FAINT, RULE, PAPER = "#1b1f24", "#59636e", "#d1d9e0", "#ffffff"
GOOD, BAD = "#1a7f37", "#cf222e"
COLOURS = ("#0969da", "#bc4c00", "#8250df", "#1a7f37", "#bf3989", "#9a6700", "#0598bc", "#57606a")
"""Of things beside one another; they differ for those who do not see red and green apart, too."""
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"


class Svg:
    """One picture; what is added later lies above. All lengths are pixels."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" '
            f'height="{_n(height)}" role="img" font-family={quoteattr(_FONT)}>',
            f"<title>{escape(title)}</title>",
        ]
        self.box(0, 0, width, height, PAPER)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 12,
        fill: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """`y` is the base line; `anchor`: start, middle or end."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, fill: str, round_by: float = 0) -> None:
        corner = f' rx="{_n(round_by)}"' if round_by else ""
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 0))}" height="{_n(height)}" fill="{fill}"{corner}/>'
        )

    def line(self, points: Iterable[tuple[float, float]], stroke: str, width: float = 1, dashes: str = "") -> None:
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{_n(width)}" '
            f'stroke-linejoin="round"{dashed}/>'
        )

    def dot(self, x: float, y: float, radius: float, fill: str, stroke: str = "none") -> None:
        self._parts.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" fill="{fill}" stroke="{stroke}" stroke-width="2"/>'
        )

    def document(self) -> str:
        return "\n".join([*self._parts, "</svg>", ""])


def _n(value: float) -> str:
    """A tenth of a pixel is enough, and makes files that differ only where pictures do."""
    return f"{value:.1f}".removesuffix(".0")
