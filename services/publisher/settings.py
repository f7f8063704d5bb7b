"""Settings of publisher."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from services.publisher.outputs.base import OutputSettings
from shared.settings import Port, Settings

EvenPort = Annotated[int, Meta(ge=0, le=65_534, multiple_of=2, description="an even port; 0 takes any free pair")]


class PublisherSettings(Settings, frozen=True, kw_only=True):
    file_roots: tuple[Path, ...] = ()
    """Folders that recordings may lie in; relative paths start at the first. Empty: `media` in the data folder."""
    fragment_seconds: Annotated[float, Meta(ge=0.1, le=10)] = 1.0
    """What a killed publisher loses of a recording at most."""
    network_timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 5.0
    """Every wait for a peer."""
    queue_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 30)] = 16 << 20
    """What is kept for a destination that is slow, per output."""

    min_free_bytes: Annotated[int, Meta(ge=0)] = 512 << 20
    """A file begins only where so much is free, or what `keep_free` says where that is less: 17 minutes of 4 Mbit/s."""

    rtsp: bool = True
    """Serve the streams to RTSP players."""
    rtsp_port: Port | None = None
    """None: 8554, and where that is taken no RTSP server. 0: any free port."""
    rtsp_udp_port: EvenPort = 0
    """RTP over UDP leaves from here, RTCP from the next port; 0: any free pair."""
    rtsp_users: str = ""
    """`name:password`, several with commas or lines; best given as a file. Empty: whoever reaches the port may pull."""
    rtsp_open: bool = False
    """Serve other machines although there are no `rtsp_users`."""
    rtsp_max_clients: Annotated[int, Meta(ge=1, le=10_000)] = 128
    rtsp_max_clients_per_address: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """A video wall or a recorder pulls many streams; so do many viewers behind one address."""
    clip_max_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 3_600.0
    """The longest clip, and how far ahead its end may lie."""
    clips_waiting: Annotated[int, Meta(ge=1, le=256)] = 16
    """Clips that are waited for and made at once."""
    clip_spool_bytes: Annotated[int, Meta(ge=1 << 20)] = 2 << 30
    """What is set aside on disk for one clip whose end is to come: an hour of 4 Mbit/s."""

    @property
    def outputs(self) -> OutputSettings:
        return OutputSettings(
            file_roots=self.file_roots or (self.data_dir / "media",),
            state_dir=self.data_dir / "publisher",
            fragment_seconds=self.fragment_seconds,
            min_free_bytes=self.min_free_bytes,
            network_timeout_seconds=self.network_timeout_seconds,
            queue_bytes=self.queue_bytes,
        )
