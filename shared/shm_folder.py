"""The folder in shared memory that a node's rings and locks lie in."""

from pathlib import Path
from typing import Final

_MODE: Final = 0o2770  # files inherit the group, so services of one group share the rings


def ensure_folder(folder: Path) -> None:
    """Create the folder for one uid and its group, mode 2770; one that exists is left as it is."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    folder.chmod(_MODE)  # mkdir's mode is subject to the umask
