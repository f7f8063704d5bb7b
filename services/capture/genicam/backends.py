"""Which library speaks to cameras here, and finding one by its name."""

import contextlib
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schemas.errors import Conflict, NotFound, Unavailable
from services.capture.genicam import gvcp
from services.capture.genicam.aravis_library import aravis
from services.capture.genicam.aravis_opening import find_usb, open_aravis
from services.capture.genicam.camera import Camera, Found
from services.capture.genicam.producers import find_with_producers, open_with_producer, producer_files
from services.capture.settings import CaptureSettings

_DISCOVERY_SECONDS = 1.0  # the standard gives a camera up to 1 s for its answer
_ADDRESS_SECONDS = 0.6
_MAX_NAMED = 8  # an error must fit a line or two


@dataclass(frozen=True)
class Backend:
    """A way to find cameras and to open them."""

    name: str
    find: Callable[[bool], Iterator[Found]]
    """Argument: ask the network too."""
    open: Callable[[Found], Camera]
    at: Callable[[str], Found | None] | None = None
    """By IP address, without asking everybody."""


def backend(settings: CaptureSettings) -> Backend:
    """The one that the settings name; of `auto` aravis where it is installed, else the GenTL producers.

    Raises:
        Unavailable: it is not installed; the text says what to install.
    """
    chosen = settings.genicam_backend
    if chosen == "harvesters" or (
        chosen == "auto" and not _has_aravis() and producer_files(settings.genicam_producers)
    ):
        producers = producer_files(settings.genicam_producers)
        return Backend("harvesters", lambda _: find_with_producers(producers), open_with_producer)
    aravis()

    def find(network: bool) -> Iterator[Found]:
        yield from find_usb()
        if network:
            yield from gvcp.discover(settings.genicam_interfaces, _DISCOVERY_SECONDS)

    return Backend("aravis", find, open_aravis, lambda address: gvcp.ask(address, _ADDRESS_SECONDS))


def locate(way: Backend, name: str, last: Found | None = None) -> Found:
    """The camera of this name; looked for first where it was `last`.

    Raises:
        NotFound: there is none; the text names those that are there.
        Conflict: several have this name.
    """
    if last and last.address and way.at and (found := way.at(last.address)) and found.is_called(name):
        return found
    address = None
    with contextlib.suppress(ValueError):
        address = str(ipaddress.IPv4Address(name))
    if address and way.at:
        if (found := way.at(address)) is None:
            raise NotFound(f"source genicam://{name}: no camera answers there; check its power, cable and address")
        return found
    seen = list(way.find(True))
    named = [found for found in seen if found.is_called(name)]
    if len(named) == 1:
        return named[0]
    if named:
        choice = ", ".join(found.name for found in named)
        raise Conflict(f"source genicam://{name}: {len(named)} cameras have this name; write one of {choice}")
    others = ", ".join(found.name for found in seen[:_MAX_NAMED])
    raise NotFound(
        f"source genicam://{name}: no such camera; " + (f"there are {others}" if others else "none is found")
    )


def _has_aravis() -> bool:
    try:
        aravis()
    except Unavailable:
        return False
    return True
