"""Hand out the secrets of a mesh in containers: `python -m services.launcher.hand_out SECRETS PARTIES`.

SECRETS is a volume that only this program reads, with the CA; below PARTIES lies a volume for each party, and one for
the server, which gets its configuration too. Runs once at each start of compose, before the server: makes what is
missing, renews what ends soon, and leaves the rest as it is.
"""

import secrets
import sys
from pathlib import Path

from schemas.errors import MeshError
from services.launcher.nats_config import MONITOR, Standalone, standalone_lines
from services.launcher.secret_folder import SERVER, SecretFolder
from shared.permissions import PARTIES
from shared.whole_file import write_whole

_RENEW_DAYS = 30  # a host that is started once a month never sees one end
_AT = Path("/run/framemesh")  # where each finds its own
_STORE = Path("/data/jetstream")
_GRAFANA, _PASSWORD_FILE, _PASSWORD_BYTES = "grafana", "password", 18
_OWN_MODE, _GROUP_MODE = 0o600, 0o640
_GROUP_FOLDER_MODE = 0o750


def main(source: Path, parties: Path) -> None:
    """Raises: MeshError: as of `SecretFolder.init` and `renew`; OSError: a volume cannot be written."""
    folder = SecretFolder(source / "mesh")  # not the volume itself, which cannot be put in place at once
    folder.init((*PARTIES, MONITOR))
    folder.renew(_RENEW_DAYS)
    for party in sorted(path for path in parties.iterdir() if path.name != _GRAFANA):
        for file in (folder.path / party.name).iterdir():
            write_whole(party / file.name, file.read_bytes(), mode=_OWN_MODE)
    server = Standalone(
        host="0.0.0.0",  # noqa: S104  # of its container; compose says who reaches that
        monitor="127.0.0.1:8222",
        store_dir=_STORE,
        secrets_at=_AT,
        public_keys=folder.public_keys(),
    )
    write_whole(parties / SERVER / "nats.conf", standalone_lines(server).encode(), mode=_OWN_MODE)
    _grafana(parties / _GRAFANA)


def _grafana(folder: Path) -> None:
    """Its administrator's password; it runs as a user of its own, in our group."""
    if folder.is_dir() and not (folder / _PASSWORD_FILE).exists():
        folder.chmod(_GROUP_FOLDER_MODE)
        write_whole(folder / _PASSWORD_FILE, secrets.token_urlsafe(_PASSWORD_BYTES).encode(), mode=_GROUP_MODE)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except MeshError as error:
        sys.exit(f"secrets: error {error.code}: {error.message}")
