"""The contract of an industrial camera, whatever library speaks to it."""

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from schemas.errors import Unavailable
from schemas.pictures import ControlValue

FeatureKind = Literal["integer", "float", "boolean", "enumeration", "string", "command"]
Bytes = npt.NDArray[np.uint8]


class FeatureRefused(Exception):
    """The camera, or the library that speaks to it, did not do what was asked; the text says why."""


class ControlledError(Unavailable):
    """Another program controls the camera, or one that was killed a moment ago did."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A camera as it announces itself, before it is opened."""

    location: str
    """MAC address or USB id: the same after every restart."""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    user_name: str = ""
    """Given to it by its owner."""
    address: str = ""
    """IP address of a GigE camera."""
    interface_address: str = ""
    """Of this host, where the camera was heard."""
    handle: object = None
    """What the back end needs to open it."""

    @property
    def name(self) -> str:
        """`vendor-model-serial`"""
        return "-".join(part for part in (self.vendor, self.model, self.serial) if part)

    def is_called(self, name: str) -> bool:
        """Serial, full name, owner's name, IP or MAC address; case and the MAC's separators do not matter."""
        wanted = _plain(name)
        own = (self.serial, self.name, self.user_name, self.address, self.location)
        return any(wanted == _plain(text) for text in own if text)


def _plain(text: str) -> str:
    lowered = text.lower().strip()
    bare = lowered.replace(":", "").replace("-", "")
    is_mac = len(bare) == 12 and all(character in "0123456789abcdef" for character in bare)
    return bare if is_mac else lowered.replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One node of the camera's description, as it is now."""

    name: str
    kind: FeatureKind
    readable: bool = True
    writable: bool = True
    value: ControlValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    increment: float | None = None
    entries: tuple[str, ...] = ()
    """Of an enumeration: those that can be chosen now."""
    unit: str = ""


@dataclass(kw_only=True)
class Buffer:
    """One picture as the camera sent it. `data` is the camera library's memory: gone after `give_back`."""

    data: Bytes
    """One dimension."""
    width: int
    height: int
    pixel_format: int
    """Code of GenICam's pixel format naming convention."""
    complete: bool
    """False: packets are missing, or it does not fit; never to be shown."""
    frame_id: int
    """Counts up by one; 0 when the camera does not count."""
    device_ns: int
    """The camera's own clock when it took the picture; 0 when it has none."""
    arrived_ns: int
    """CLOCK_REALTIME of its first packet."""
    row_padding_bytes: int = 0
    chunks: dict[str, int | float | str | bool] = field(default_factory=dict)
    handle: object = None


class Camera(ABC):
    """An opened camera, ours alone. Features may be used from any thread that holds `lock`."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.lock = threading.RLock()
        self.lost = threading.Event()
        """Set when the library says that the camera is gone."""

    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Of everything that the camera has, in the order of its description."""

    @abstractmethod
    def feature(self, name: str) -> Feature | None:
        """None: it has no such feature. Reads from the camera.

        Raises:
            Unavailable: it was closed.
        """

    @abstractmethod
    def set(self, name: str, value: ControlValue) -> None:
        """Set a feature, or execute a command. The value has the feature's type.

        Raises:
            FeatureRefused: the camera did not take it.
            Unavailable: it was closed.
        """

    @abstractmethod
    def read_chunks(self, names: tuple[str, ...]) -> None:
        """Read these features (`ChunkExposureTime`) from the data that comes with each picture, from `start` on."""

    @abstractmethod
    def start(self) -> None:
        """Begin to send pictures.

        Raises:
            FeatureRefused: it does not.
        """

    @abstractmethod
    def next(self, timeout_seconds: float) -> Buffer | None:
        """The next picture, whole or not; None when there was none in time. Give each back at once."""

    @abstractmethod
    def give_back(self, buffer: Buffer) -> None:
        """The buffer may be filled again."""

    @abstractmethod
    def answers(self) -> bool:
        """Ask the camera for a sign of life; blocks for a second at most."""

    @abstractmethod
    def stop(self) -> None:
        """End sending; errors are of no interest any more."""

    @abstractmethod
    def close(self) -> None:
        """Give the camera free. May block for seconds where it no longer answers."""

    def has(self, name: str) -> bool:
        return self.feature(name) is not None
