"""What all probes are told: the settings, the environment, and the mesh, which is asked once for all of them."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from schemas.errors import MeshError
from schemas.mesh_file import MeshPlan
from schemas.service_table import BY_NAME, SERVICE_TABLE, ServiceEntry
from services.cli.doctor.mesh_look import MeshLook
from shared.settings import PREFIX, Settings, load_settings

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # compared, not listened on
SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """This host, and the mesh that it belongs to."""

    settings: Settings
    mesh: "asyncio.Future[MeshLook | MeshError]"
    plan: MeshPlan | None = None
    """Of the mesh.yaml that was given."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    devices: Path = Path("/dev")
    cgroup: Path = Path("/sys/fs/cgroup")
    deadline_seconds: float = 3.0

    @property
    def services(self) -> tuple[ServiceEntry, ...]:
        """Those that are to run here: all; in an image that one, in the command line's none."""
        own = self.environ.get("FRAMEMESH_SERVICE", "")
        return tuple(entry for entry in SERVICE_TABLE if own in ("", entry.name))

    def runs(self, service: str) -> bool:
        return BY_NAME[service] in self.services

    async def look(self) -> MeshLook | None:
        """The mesh; None: none answers, which group `nats` tells of."""
        found = await asyncio.shield(self.mesh)
        return found if isinstance(found, MeshLook) else None

    def settings_of(self, kind: type[SettingsT], service: str) -> SettingsT:
        """Those of a service, as far as `kind` knows them: the command line knows no service.

        Raises:
            MeshError: as of `load_settings`.
        """
        own = BY_NAME[service].environment_prefix
        known = {f.name.upper() for f in msgspec.structs.fields(kind)}
        names = [f"{prefix}{name}{ending}" for prefix in (own, PREFIX) for name in known for ending in ("", "_FILE")]
        return load_settings(kind, service, {name: self.environ[name] for name in names if name in self.environ})


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
