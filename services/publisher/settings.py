"""Settings of publisher."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from services.publisher.outputs.base import OutputSettings
from shared.settings import Settings


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
