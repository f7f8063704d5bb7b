"""The clock of single services stepped while they run: a fake kernel boundary, nothing above it."""

import subprocess
from pathlib import Path
from typing import Final

from schemas.units import NS_PER_SECOND

SOURCE: Final = Path(__file__).with_name("stepped_clock.c")
_BUILD_SECONDS: Final = 60


class SteppedClocks:
    """`environment` goes to a mesh; each service named here then has a CLOCK_REALTIME of its own."""

    def __init__(self, folder: Path, *services: str) -> None:
        """`folder`: a new one, for the library and a small file for each service."""
        folder.mkdir()
        library = folder / "stepped_clock.so"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"],
            check=True,
            timeout=_BUILD_SECONDS,
        )
        self._folder = folder
        self.environment: Final = {"LD_PRELOAD": str(library), "STEPPED_CLOCKS": str(folder)}
        for service in services:
            self.step(service, 0.0)

    def step(self, service: str, seconds: float) -> None:
        """From now on so far from the host's clock."""
        path = self._folder / service.replace("-", "_")
        with path.open("r+b" if path.exists() else "wb") as file:  # in place: the processes map it
            file.write(round(seconds * NS_PER_SECOND).to_bytes(8, "little", signed=True))
