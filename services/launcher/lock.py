"""A locked mesh on one machine: its secrets, what its services get of them, and what is made before they start."""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from schemas.service_table import BY_NAME
from services.launcher.kept import make_kept
from services.launcher.nats_config import MONITOR
from services.launcher.secret_folder import SecretFolder
from shared.bus import Bus
from shared.permissions import PARTIES, SETUP
from shared.settings import Settings

log = logging.getLogger(__name__)

_RENEW_DAYS = 30  # a mesh that is started once a month never sees one end


def mesh_secrets(data_dir: Path) -> SecretFolder:
    """The secrets of the mesh with this data folder: made at first use, renewed in time.

    Raises:
        MeshError: as of `SecretFolder.init` and `renew`.
    """
    folder = SecretFolder((data_dir / "secrets").absolute())
    folder.init((*PARTIES, MONITOR))
    if renewed := folder.renew(_RENEW_DAYS):
        log.warning("renewed the certificates of %s, which end soon", ", ".join(renewed))
    return folder


def access_environment(secrets: SecretFolder, services: Iterable[str]) -> dict[str, str]:
    """What each service is given: its own, and no other's."""
    return {
        f"{BY_NAME[service].environment_prefix}NATS_{name.upper()}": path
        for service in services
        for name, path in msgspec.structs.asdict(secrets.access(service)).items()
    }


async def set_up(nats_url: str, secrets: SecretFolder, settings: Settings, timeout_seconds: float) -> None:
    """Make what the services may not. Raises: MeshError: as of `Bus.connect` and `make_kept`."""
    access = secrets.access(SETUP)
    bus = await Bus.connect(nats_url, name="launcher-setup", access=access, timeout_seconds=timeout_seconds)
    try:
        await make_kept(bus, settings)
    finally:
        await bus.drain()
