"""One table of the live screen: sorted, filtered, and as wide as there is room."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rich.style import Style
from rich.text import Text
from textual.widgets import DataTable

from services.cli.top_screen.cells import Column, Tone, fitting

RowT = TypeVar("RowT")

_STYLES: dict[Tone, Style] = {
    "": Style(),
    "good": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "dim": Style(dim=True),
}
# Textual turns red into the darkest of greys then, and what matters most could be read least.
_STYLES_WITHOUT_COLOUR: dict[Tone, Style] = {
    "": Style(),
    "good": Style(),
    "warn": Style(bold=True),
    "bad": Style(bold=True, reverse=True),
    "dim": Style(dim=True),
}
_GAP = 2


class Panel(DataTable[Text], Generic[RowT]):
    """Rows keep their place under the cursor from one look to the next."""

    def __init__(self, columns: tuple[Column[RowT], ...], key: Callable[[RowT], str], name: str, sort: int = 0) -> None:
        """`key`: what is the same row at the next look."""
        super().__init__(id=name, cursor_type="row", cell_padding=_GAP // 2, cursor_foreground_priority="renderable")
        self._all, self._key = columns, key
        self._rows: list[RowT] = []
        self._sorted_by, self._backwards = sort, False
        self._filter = ""
        self._drawn_columns: tuple[str, ...] = ()
        self._drawn: list[tuple[str, list[str]]] = []

    def put(self, rows: Sequence[RowT], filter_text: str) -> None:
        """Show these."""
        self._rows, self._filter = list(rows), filter_text.lower()
        self.draw()

    def sort_next(self) -> None:
        """By the next column that is shown, beginning again behind the last."""
        self._sorted_by, self._backwards = (self._sorted_by + 1) % len(self._all), False
        while self._all[self._sorted_by].title not in self._shown_titles():
            self._sorted_by = (self._sorted_by + 1) % len(self._all)
        self.draw()

    def turn_round(self) -> None:
        self._backwards = not self._backwards
        self.draw()

    def _shown_titles(self) -> set[str]:
        return {one.title for one in fitting(self._all, self._wanted(), self._room(), _GAP)}

    def _room(self) -> int:
        return max(20, self.size.width or self.app.size.width) - _GAP

    def _wanted(self) -> list[RowT]:
        if not self._filter:
            return self._rows
        return [row for row in self._rows if any(self._filter in one.cell(row).lower() for one in self._all)]

    def draw(self) -> None:
        """Change what is another than before; all of it where rows or columns are others."""
        rows = sorted(self._wanted(), key=self._key)
        rows.sort(key=self._all[self._sorted_by].order, reverse=self._backwards)
        columns = fitting(self._all, rows, self._room(), _GAP)
        titles = tuple(self._title(one) for one in columns)
        drawn = [(self._key(row), [one.cell(row) for one in columns]) for row in rows]
        if titles == self._drawn_columns and [key for key, _ in drawn] == [key for key, _ in self._drawn]:
            for line, (row, (_, cells), (_, before)) in enumerate(zip(rows, drawn, self._drawn, strict=True)):
                for number, one in enumerate(columns):
                    if cells[number] != before[number]:
                        self.update_cell_at((line, number), self._styled(one, row), update_width=True)  # type: ignore[arg-type]  # a coordinate
        else:
            self._draw_all(columns, titles, rows)
        self._drawn_columns, self._drawn = titles, drawn

    def _draw_all(self, columns: tuple[Column[RowT], ...], titles: tuple[str, ...], rows: list[RowT]) -> None:
        under = self._drawn[self.cursor_row][0] if 0 <= self.cursor_row < len(self._drawn) else None
        left = self.scroll_offset
        self.clear(columns=True)
        for title, one in zip(titles, columns, strict=True):
            self.add_column(Text(title, justify="right" if one.right else "left"), key=one.title)
        for number, row in enumerate(rows):
            self.add_row(*(self._styled(one, row) for one in columns), key=self._key(row))
            if self._key(row) == under:
                self.move_cursor(row=number, animate=False, scroll=False)
        self.scroll_to(*left, animate=False)

    def _title(self, column: Column[RowT]) -> str:
        if self._all[self._sorted_by] is not column:
            return column.title
        return f"{column.title} {'▲' if self._backwards else '▼'}"

    def _styled(self, column: Column[RowT], row: RowT) -> Text:
        styles = _STYLES_WITHOUT_COLOUR if self.app.no_color else _STYLES
        return Text(column.cell(row), styles[column.tone(row)], justify="right" if column.right else "left")
