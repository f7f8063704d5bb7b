"""An open V4L2 device: what it is, what it offers, its format."""

import errno
import fcntl
import os
from collections.abc import Iterator
from ctypes import Structure, c_int32
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Self

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.errors import InternalError, MeshError, NotFound, Unavailable
from services.capture.v4l2 import abi
from services.capture.v4l2.colours import driver_colours
from services.capture.v4l2.modes import Mode, SizeRange

_MAX_ENTRIES = 512  # of one list: a driver that never ends it must not hold us for ever

_MEANINGS = {
    errno.EBUSY: "is in use by another program",
    errno.EACCES: "may not be opened; give this user access to it (group video)",
    errno.EPERM: "may not be opened; give this user access to it (group video)",
    errno.ENODEV: "is not plugged in",
    errno.ENXIO: "is not plugged in",
    errno.EIO: "does not answer; plug it in again",
    errno.EPROTO: "does not answer; plug it in again",
    errno.ETIMEDOUT: "does not answer; plug it in again",
    errno.ENOSPC: "needs more USB bandwidth than there is; use another port, a smaller size or MJPG",
    errno.ENOMEM: "needs more memory for its pictures than there is",
}


def explain(error: OSError, what: str) -> MeshError:
    """The typed error for what the kernel said of a camera: all that may change by itself is 503."""
    if error.errno == errno.ENOENT:
        return NotFound(f"{what} is not there; is the camera plugged in?")
    meaning = _MEANINGS.get(error.errno or 0)
    return Unavailable(f"{what} {meaning}") if meaning else InternalError(f"{what}: {error.strerror}")


@dataclass(frozen=True)
class Identity:
    """What a camera says it is."""

    driver: str
    card: str
    bus_info: str
    captures: bool
    """It sends pictures, and streams them."""
    buffer_type: int
    """Of the two forms of the interface, the one it has. Pictures are in one piece of memory either way."""


@dataclass(frozen=True)
class SetFormat:
    """What the device has agreed to."""

    width: int
    height: int
    bytes_per_line: int
    colour_space: ColourSpace = UNSPECIFIED
    """Of YUV."""


class VideoDevice:
    """Use as a context manager. Every method raises MeshError with a text fit to show."""

    def __init__(self, path: Path, what: str) -> None:
        """Open it beside others that have it open; nothing is changed.

        Args:
            what: its name for error texts.
        """
        self.what = what
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise explain(error, what) from None

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ioctl(self, request: int, argument: "Structure | c_int32") -> None:
        """As the kernel answers it; the interpreter's lock is not held meanwhile.

        Raises:
            OSError
        """
        fcntl.ioctl(self.fd, request, argument)

    def request(self, request: int, argument: "Structure | c_int32") -> None:
        """`ioctl`, with its error explained.

        Raises:
            MeshError
        """
        try:
            self.ioctl(request, argument)
        except OSError as error:
            raise explain(error, self.what) from None

    def identity(self) -> Identity:
        answer = abi.Capability()
        self.request(abi.QUERYCAP, answer)
        caps = answer.device_caps if answer.capabilities & abi.CAP_DEVICE_CAPS else answer.capabilities
        sends = caps & (abi.CAP_VIDEO_CAPTURE | abi.CAP_VIDEO_CAPTURE_MPLANE) and caps & abi.CAP_STREAMING
        return Identity(
            driver=text(answer.driver),
            card=text(answer.card),
            bus_info=text(answer.bus_info),
            captures=bool(sends) and not caps & abi.CAP_VIDEO_M2M,
            buffer_type=(
                abi.BUF_TYPE_VIDEO_CAPTURE
                if caps & abi.CAP_VIDEO_CAPTURE or not caps & abi.CAP_VIDEO_CAPTURE_MPLANE
                else abi.BUF_TYPE_VIDEO_CAPTURE_MPLANE
            ),
        )

    @cached_property
    def buffer_type(self) -> int:
        return self.identity().buffer_type

    @property
    def multi_planar(self) -> bool:
        return self.buffer_type == abi.BUF_TYPE_VIDEO_CAPTURE_MPLANE

    def modes(self) -> list[Mode]:
        """What it offers, by format and size, with the rates."""
        found = []
        for description in self._formats():
            name = abi.fourcc_name(description.pixelformat)
            for sizes in self._sizes(description.pixelformat):
                width, height = sizes.largest
                rates, ranged = self._rates(description.pixelformat, width, height)
                found.append(Mode(name, sizes, rates, ranged))
        return found

    def set_format(self, fourcc: str, width: int, height: int) -> SetFormat:
        """Agree on the pictures.

        Raises:
            Unavailable: in use, unplugged, or the driver takes something else.
        """
        wanted = abi.Format(type=self.buffer_type)
        pix = wanted.fmt.pix_mp if self.multi_planar else wanted.fmt.pix
        pix.width, pix.height, pix.pixelformat, pix.field = width, height, abi.fourcc(fourcc), abi.FIELD_ANY
        if self.multi_planar:
            pix.num_planes = 1
        self.request(abi.S_FMT, wanted)
        if (pix.width, pix.height, pix.pixelformat) != (width, height, abi.fourcc(fourcc)):
            taken = f"{pix.width}x{pix.height} {abi.fourcc_name(pix.pixelformat)}"
            raise Unavailable(f"{self.what} takes {taken} instead of {width}x{height} {fourcc}")
        plane = pix.plane_fmt[0] if self.multi_planar else pix
        return SetFormat(pix.width, pix.height, plane.bytesperline, driver_colours(pix))

    def set_rate(self, fps: Fraction) -> Fraction:
        """Agree on the rate; what the device makes of it, or `fps` where it does not tell."""
        parameters = abi.StreamParameters(type=self.buffer_type)
        interval = parameters.capture.timeperframe
        interval.numerator, interval.denominator = fps.denominator, fps.numerator
        try:
            self.ioctl(abi.S_PARM, parameters)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EINVAL):  # it has one rate and no name for it
                return fps
            raise explain(error, self.what) from None
        if not parameters.capture.capability & abi.CAP_TIMEPERFRAME or not interval.numerator:
            return fps
        return Fraction(interval.denominator, interval.numerator)

    # -- lists -----------------------------------------------------------------------------------------------

    def _formats(self) -> Iterator[abi.FormatDescription]:
        for index in range(_MAX_ENTRIES):
            description = abi.FormatDescription(index=index, type=self.buffer_type)
            if not self._listed(abi.ENUM_FMT, description):
                return
            yield description

    def _sizes(self, pixelformat: int) -> Iterator[SizeRange]:
        for index in range(_MAX_ENTRIES):
            size = abi.FrameSize(index=index, pixel_format=pixelformat)
            if not self._listed(abi.ENUM_FRAMESIZES, size):
                if not index:  # it has no list: what is set now is what there is
                    yield from self._present_size(pixelformat)
                return
            if size.type != abi.SIZE_DISCRETE:
                step = size.stepwise
                yield SizeRange(
                    (step.min_width, step.min_height),
                    (step.max_width, step.max_height),
                    (max(step.step_width, 1), max(step.step_height, 1)),
                )
                return
            yield SizeRange.of(size.discrete.width, size.discrete.height)

    def _present_size(self, pixelformat: int) -> Iterator[SizeRange]:
        present = abi.Format(type=self.buffer_type)
        if not self._listed(abi.G_FMT, present):
            return
        pix = present.fmt.pix_mp if self.multi_planar else present.fmt.pix
        if pix.pixelformat == pixelformat:
            yield SizeRange.of(pix.width, pix.height)

    def _rates(self, pixelformat: int, width: int, height: int) -> tuple[tuple[Fraction, ...], bool]:
        """Pictures a second, the highest first, and whether all between them will do; () when it does not tell."""
        rates: list[Fraction] = []
        for index in range(_MAX_ENTRIES):
            entry = abi.FrameInterval(index=index, pixel_format=pixelformat, width=width, height=height)
            if not self._listed(abi.ENUM_FRAMEINTERVALS, entry):
                break
            if entry.type != abi.INTERVAL_DISCRETE:
                ends = (entry.stepwise.min, entry.stepwise.max)
                return tuple(Fraction(end.denominator, end.numerator) for end in ends if end.numerator), True
            if entry.discrete.numerator and entry.discrete.denominator:
                rates.append(Fraction(entry.discrete.denominator, entry.discrete.numerator))
        return tuple(sorted(set(rates), reverse=True)), False

    def _listed(self, request: int, entry: Structure) -> bool:
        """Fill in one entry of a list; False at its end, or where there is no such list."""
        try:
            self.ioctl(request, entry)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return False
            raise explain(error, self.what) from None
        return True


def text(raw: bytes) -> str:
    """What a device calls something, fit to show: cameras are strangers too."""
    return "".join(letter if letter.isprintable() else "?" for letter in raw.decode("utf-8", "replace")).strip()
