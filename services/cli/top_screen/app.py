"""The live screen."""

import argparse
import asyncio
import logging
import time

from rich.text import Text
from textual import events, on, work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import DataTable, Footer, Input, Static

from schemas.errors import MeshError
from services.cli.connection import connected
from services.cli.top_screen.cells import EVENTS, SERVICES, STREAMS, WORK, clock
from services.cli.top_screen.panel import Panel
from services.cli.top_screen.scene import EventRow, Scene, ServiceRow, StreamRow, WorkRow
from services.cli.top_screen.stream_screen import StreamScreen
from services.cli.top_screen.text import away, headline, troubles
from services.cli.top_screen.watch import Watch

_TRY_AGAIN_SECONDS = 1.0
_WIDE_COLUMNS = 150  # services and work side by side
_SHORT_ROWS = 32  # blank ones between tables are too many then
_SHOWN_TROUBLES = 3
_CSS = """
Screen { background: $background; }
#head { height: 1; padding: 0 1; text-style: bold; color: $primary; }
#away { height: auto; padding: 0 1; background: $error; color: $text; text-style: bold; display: none; }
#notes { height: auto; max-height: 3; padding: 0 1; color: $warning; display: none; }
#notes { text-wrap: nowrap; text-overflow: ellipsis; }
#body { height: 1fr; }
#filter { height: 1; border: none; padding: 0 1; display: none; background: $boost; }
Panel { background: $background; height: auto; margin-bottom: 1; scrollbar-size-vertical: 1; }
Panel > .datatable--header { background: $background; color: $foreground 60%; text-style: bold; }
Panel > .datatable--cursor { background: $background; color: $foreground; }
Panel:focus > .datatable--header { color: $primary; }
Panel:focus > .datatable--cursor { background: $primary 35%; }
#streams { max-height: 45%; }
#middle { height: auto; max-height: 40%; }
#services { max-height: 10; }
#work { max-height: 8; display: none; }
#events { height: 1fr; margin-bottom: 0; }
.wide #middle { layout: horizontal; }
.wide #services { width: 1fr; }
.wide #work { width: 1fr; max-height: 10; }
.short Panel { margin-bottom: 0; }
.short #middle { max-height: 100%; }
.short #services { max-height: 8; }
.short.working #streams, .short.working #services, .short.working #work { max-height: 4; }
.short.working #streams:focus, .short.working #services:focus, .short.working #work:focus { max-height: 8; }
"""


class Streams(Panel[StreamRow]):
    BINDINGS = [Binding("enter", "select_cursor", "open")]  # noqa: RUF012  # as textual has it


class TopApp(App[None]):
    """Follows the mesh that the options name, through absences of its bus."""

    CSS = _CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [  # noqa: RUF012  # as textual has it
        Binding("q", "quit", "quit"),
        Binding("s", "sort", "sort"),
        Binding("S", "turn_round", "turn round", show=False),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("p", "hold", "hold"),
        Binding("tab", "app.focus_next", "next table", show=True),
        Binding("question_mark", "keys", "keys", key_display="?"),
        Binding("escape", "no_filter", "all", show=False),
    ]

    def __init__(self, options: argparse.Namespace, interval_seconds: float) -> None:
        super().__init__()
        self._options, self._interval_seconds = options, interval_seconds
        self._scene: Scene | None = None
        self._held = False
        self._filter = ""
        self._unreached_s: float | None = None

    def compose(self) -> ComposeResult:
        yield Static("framemesh top", id="head")
        yield Static("", id="away")
        with Container(id="body"):
            yield Streams(STREAMS, lambda row: row.stream, "streams")
            with Container(id="middle"):
                yield Panel[ServiceRow](SERVICES, lambda row: f"{row.service}@{row.node}#{row.number}", "services")
                yield Panel[WorkRow](WORK, lambda row: f"{row.kind} {row.name}", "work")
            yield Panel[EventRow](EVENTS, lambda row: f"{row.at_ns} {row.service} {row.resource} {row.event}", "events")
        yield Static("", id="notes")
        yield Input(placeholder="filter: part of a name, a state, a node", id="filter", compact=True)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        # What is logged would be written across the screen; the screen itself says that the bus is away.
        logging.getLogger().handlers[:] = [logging.NullHandler()]
        self.query_one("#streams").focus()
        self._follow()

    @work(exclusive=True)
    async def _follow(self) -> None:
        while True:
            try:
                async with connected(self._options) as bus:
                    watch = await Watch.open(bus)
                    try:
                        while True:
                            began = time.monotonic()
                            self.show(await watch.look())
                            await asyncio.sleep(max(0.05, self._interval_seconds - (time.monotonic() - began)))
                    finally:
                        await watch.close()
            except MeshError as error:
                self._unreached(error.message)
                await asyncio.sleep(_TRY_AGAIN_SECONDS)

    def _unreached(self, why: str) -> None:
        """There was no bus yet, or it has closed the connection for good."""
        if self._unreached_s is None:
            self._unreached_s = time.monotonic()
        seconds = time.monotonic() - self._unreached_s
        self._say_away(f"NO BUS for {seconds:.0f} s: {why}. Trying again …")

    def _say_away(self, text: str) -> None:
        line = self.query_one("#away", Static)
        line.display = bool(text)
        line.update(Text(text))

    def show(self, scene: Scene) -> None:
        """Draw a scene."""
        self._unreached_s = None
        self._say_away(away(scene))
        if self._held and self._scene is not None:
            return
        self._scene = scene
        self._draw()

    def _draw(self) -> None:
        scene = self._scene
        if scene is None:
            return
        held = "HELD, p goes on  " if self._held else ""
        filtered = f"only {self._filter!r}  " if self._filter else ""
        self.query_one("#head", Static).update(Text(f"{held}{filtered}{clock(scene.at_ns)}  {headline(scene)}"))
        notes = self.query_one("#notes", Static)
        wrong = troubles(scene)
        notes.display = bool(wrong)
        notes.update(Text("\n".join(f"! {one}" for one in wrong[:_SHOWN_TROUBLES])))
        for name, rows in (
            ("streams", scene.streams),
            ("services", scene.services),
            ("work", scene.work),
            ("events", scene.events[::-1]),
        ):
            panel = self.query_one(f"#{name}", Panel)
            panel.put(rows, self._filter)
            panel.display = name in ("streams", "events") or panel.row_count > 0
        # Three tables have no room above the events of a short terminal: the one with the focus has most of it.
        self.query_one("#body").set_class(bool(scene.work), "working")
        if isinstance(self.screen, StreamScreen):
            self.screen.show(scene)

    def on_resize(self, event: events.Resize) -> None:
        body = self.query_one("#body")
        body.set_class(event.size.width >= _WIDE_COLUMNS, "wide")
        body.set_class(event.size.height < _SHORT_ROWS, "short")
        self.call_after_refresh(self._draw)

    @on(DataTable.RowSelected, "#streams")
    def _open(self, selected: DataTable.RowSelected) -> None:
        if self._scene is not None and selected.row_key.value is not None:
            self.push_screen(StreamScreen(selected.row_key.value, self._scene))

    def action_sort(self) -> None:
        if isinstance(self.focused, Panel):
            self.focused.sort_next()

    def action_turn_round(self) -> None:
        if isinstance(self.focused, Panel):
            self.focused.turn_round()

    def action_hold(self) -> None:
        self._held = not self._held
        self._draw()

    def action_keys(self) -> None:
        self.action_show_help_panel()

    def action_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.display = True
        self.screen.set_focus(line)  # at once: what is typed next is meant for it

    def action_no_filter(self) -> None:
        self.query_one("#filter", Input).value = ""
        self._end_filter()

    @on(Input.Changed, "#filter")
    def _filtered(self, changed: Input.Changed) -> None:
        self._filter = changed.value.strip()
        self._draw()

    @on(Input.Submitted, "#filter")
    def _end_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one("#streams").focus()
