"""One moment of a mesh, as `framemesh top` shows it and `--json` prints it."""

from msgspec import Struct


class StreamRow(Struct, frozen=True, kw_only=True):
    """One stream with what hangs on it."""

    stream: str
    node: str = ""
    state: str = "no owner"
    source: str = ""
    width: int = 0
    height: int = 0
    codec: str = ""
    fps_in: float | None = None
    """Pictures a second that the source sends; None: its owner does not answer."""
    fps_out: float | None = None
    """Written to the ring, while somebody looks."""
    bitrate: int = 0
    """bit/s of the source's own packets, else of its renditions."""
    dropped: dict[str, int] = {}
    restarts: int = 0
    ring_ms: float | None = None
    """Median since the look before, from capture of a picture until it is in the ring,"""
    encoded_ms: float | None = None
    """until its packet leaves the encoder,"""
    sent_ms: float | None = None
    """and until viewers have been sent it. None: nothing was measured."""
    seen_ms: float | None = None
    """Until it is on a screen, as viewers that measure it tell."""
    viewers: int = 0
    error: str = ""
    renditions: tuple[str, ...] = ()
    """`main running libx264 640x360 4M`."""
    outputs: tuple[str, ...] = ()


class ServiceRow(Struct, frozen=True, kw_only=True):
    """One running service."""

    service: str
    node: str
    number: int
    version: str
    cpu_percent: float
    """Of one core, with its child processes."""
    rss_bytes: int
    restarts: int
    up_s: float
    lag_ms: float | None = None
    """99 % of the looks at its event loop since the look before found it no later. None: its figures cannot be read."""
    dropped: int = 0


class WorkRow(Struct, frozen=True, kw_only=True):
    """A job, a mix, a signal, an input, a rule."""

    kind: str
    name: str
    state: str
    node: str = ""
    detail: str = ""
    error: str = ""


class EventRow(Struct, frozen=True, kw_only=True):
    at_ns: int
    service: str
    resource: str
    event: str
    state: str = ""
    error: str = ""
    trace_id: str = ""


class Scene(Struct, frozen=True, kw_only=True):
    """All of it."""

    at_ns: int
    server: str
    """Without its password."""
    connected: bool = True
    away_s: float = 0.0
    """For so long the bus has not answered: what is here is as old."""
    services: tuple[ServiceRow, ...] = ()
    streams: tuple[StreamRow, ...] = ()
    work: tuple[WorkRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    """The newest last."""
    notes: tuple[str, ...] = ()
    """What could not be found out."""

    @property
    def viewers(self) -> int:
        return sum(row.viewers for row in self.streams)

    @property
    def nodes(self) -> int:
        return len({row.node for row in self.services})
