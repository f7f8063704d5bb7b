"""Settings of cloud-mix-proxy; the process of each mix reads them too."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from services.cloud_mix_proxy.tasks.settings import TaskSettings


class CloudMixProxySettings(TaskSettings, frozen=True, kw_only=True):
    delay_ms: Annotated[int, Meta(ge=0, le=5_000)] = 80
    """So old is what a mix shows: by then pictures and sound of one moment are there, from sources of all kinds."""
    threads: Annotated[int, Meta(ge=0, le=64)] = 0
    """That scale pictures of a mix at the same time; 0: as many as it has inputs, and the machine cores."""
    file_roots: tuple[Path, ...] = ()
    """Where still pictures that are files may lie."""
    allow_private: bool = True
    """Still pictures may come from private networks; of a mix with `public_only` they never do."""
    still_seconds: Annotated[float, Meta(gt=0, le=6)] = 5.0
    """For a still picture to be here; a change of a mix has 7 s for all that it needs."""
    max_mixes: Annotated[int, Meta(ge=1, le=256)] = 16
    """On this node; each is a process of its own."""
