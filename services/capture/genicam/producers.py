"""The GenTL producers of this process, and the cameras that they know."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.errors import Unavailable
from services.capture.genicam.camera import Found
from services.capture.genicam.harvesters_camera import HarvestersCamera, reason

_PATH_VARIABLE = "GENICAM_GENTL64_PATH"  # the standard's, set by producers when they are installed
_FIND_MS = 1_000
_MISSING = "install them with: pip install 'framemesh[capture-genicam]'"


def producer_files(configured: tuple[Path, ...]) -> tuple[Path, ...]:
    """The GenTL producers of the settings and of `GENICAM_GENTL64_PATH`: files, or folders of .cti files."""
    named = [*configured, *(Path(part) for part in os.environ.get(_PATH_VARIABLE, "").split(os.pathsep) if part)]
    files = [file for place in named for file in (sorted(place.glob("*.cti")) if place.is_dir() else (place,))]
    return tuple(dict.fromkeys(files))


def find_with_producers(producers: tuple[Path, ...]) -> Iterator[Found]:
    """Every camera that the producers know.

    Raises:
        Unavailable: no package, no producer, or one that cannot be loaded; says what to install or set.
    """
    yield from _PRODUCERS.find(producers)


def open_with_producer(found: Found) -> HarvestersCamera:
    """Open a camera for this process alone.

    Raises:
        Unavailable: it does not answer, or another program has it.
    """
    return _PRODUCERS.open(found)


class _Producers:
    """A producer may be loaded once by a process, and looking again closes every camera: so there is one of these."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._harvester: Any = None
        self._files: tuple[Path, ...] = ()
        self._open = 0
        self._found: list[Found] = []

    def find(self, files: tuple[Path, ...]) -> list[Found]:
        with self._lock:
            if self._open and files == self._files:
                return self._found  # a new look would close the open cameras
            harvester = self._loaded(files)
            harvester.timeout_for_update = _FIND_MS
            harvester.update()
            self._found = [_found(info) for info in harvester.device_info_list]
            return self._found

    def open(self, found: Found) -> HarvestersCamera:
        from genicam import gentl

        with self._lock:
            infos = [info for info in self._harvester.device_info_list if _location(info) == found.location]
            if not infos:
                raise Unavailable(f"camera {found.name} is gone; check its power and cable")
            try:
                acquirer = self._harvester.create(infos[0])
            except gentl.GenericException as error:
                raise Unavailable(
                    f"camera {found.name} cannot be opened ({reason(error)}); is it used by another program?"
                ) from None
            self._open += 1
        return HarvestersCamera(found, acquirer, self._closed)

    def _closed(self) -> None:
        with self._lock:
            self._open -= 1

    def _loaded(self, files: tuple[Path, ...]) -> Any:
        try:
            from harvesters.core import Harvester
        except ImportError as error:
            raise Unavailable(f"GenTL cameras: {error}; {_MISSING}") from None
        if not files:
            raise Unavailable(
                f"GenTL cameras: no producer; install the camera maker's GenTL producer and set {_PATH_VARIABLE} or "
                "FRAMEMESH_CAPTURE_GENICAM_PRODUCERS to its .cti file"
            )
        for file in files:
            if not file.is_file():
                raise Unavailable(f"GenTL producer {file}: there is no such file")
        if self._harvester is None or files != self._files:
            if self._harvester is not None:
                self._harvester.reset()
            self._harvester, self._files = Harvester(), files
            for file in files:
                self._harvester.add_file(str(file))
        return self._harvester


_PRODUCERS = _Producers()


def _location(info: Any) -> str:
    return f"gentl-{info.id_}"


def _found(info: Any) -> Found:
    def text(name: str) -> str:
        from genicam import gentl

        try:
            return str(getattr(info, name) or "")
        except gentl.GenericException:  # older producers do not have all
            return ""

    return Found(
        location=_location(info),
        vendor=text("vendor"),
        model=text("model"),
        serial=text("serial_number"),
        user_name=text("user_defined_name"),
    )
