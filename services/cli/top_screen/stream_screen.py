"""One stream, with all that is known of it."""

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from services.cli.table import printable
from services.cli.top_screen.cells import clock, rate
from services.cli.top_screen.scene import Scene, StreamRow

_SHOWN_EVENTS = 12


class StreamScreen(ModalScreen[None]):
    """Goes on with each scene."""

    CSS = """
    StreamScreen { align: center middle; }
    #stream { width: 90%; height: 80%; border: round $primary; padding: 0 1; background: $background; }
    """
    BINDINGS = [Binding("escape,enter,q", "dismiss", "back")]  # noqa: RUF012  # as textual has it

    def __init__(self, stream: str, scene: Scene) -> None:
        super().__init__()
        self._stream, self._scene = stream, scene

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="stream") as box:
            box.border_title = printable(self._stream)
            box.border_subtitle = "Esc: back"
            yield Static(self._text(), id="about")

    def show(self, scene: Scene) -> None:
        self._scene = scene
        self.query_one("#about", Static).update(self._text())

    def _text(self) -> Text:
        row = next((row for row in self._scene.streams if row.stream == self._stream), None)
        if row is None:
            return Text("it is gone")
        lines = [f"{name:<11} {printable(value)}" for name, value in _facts(row) if value]
        for name, values in (("renditions", row.renditions), ("outputs", row.outputs)):
            lines += ["", name, *(f"  {printable(value)}" for value in values)] if values else []
        told = [one for one in self._scene.events if one.resource.partition("--")[0] == self._stream]
        if told:
            lines += ["", "events"]
            for one in told[-_SHOWN_EVENTS:][::-1]:
                what = f"{one.event} {one.state} {one.error}".strip()
                lines.append(f"  {clock(one.at_ns)}  {one.service:<14} {printable(what)}  {one.trace_id[:8]}".rstrip())
        return Text("\n".join(lines))


def _facts(row: StreamRow) -> tuple[tuple[str, str], ...]:
    stages = (
        ("in the ring", row.ring_ms),
        ("encoded", row.encoded_ms),
        ("sent", row.sent_ms),
        ("on screen", row.seen_ms),
    )
    return (
        ("state", row.state + (f": {row.error}" if row.error else "")),
        ("source", row.source),
        ("node", row.node),
        ("picture", f"{row.width}x{row.height} {row.codec}" if row.width else ""),
        ("fps", f"{row.fps_in:.1f} come, {row.fps_out or 0:.1f} in the ring" if row.fps_in is not None else ""),
        ("bitrate", rate(row.bitrate) if row.bitrate else ""),
        ("delay", "  ".join(f"{name} {value:.1f} ms" for name, value in stages if value is not None)),
        ("dropped", "  ".join(f"{reason} {count}" for reason, count in sorted(row.dropped.items()))),
        ("restarts", str(row.restarts) if row.restarts else ""),
        ("viewers", str(row.viewers) if row.viewers else ""),
    )
