"""What a camera offers, and the choice among it.

The rules, in this order. `size` is one that the camera has: pictures of another size are not made up by scaling, as an
inspection would measure what no sensor saw. Only with `crop`, or turned by 90 or 270 degrees, is `size` what the sink
scales to afterwards; then the camera sends its best size that holds the crop. `fps` is a rate of that size,
`bit_depth` one of its formats'. `pixel_format` is preferred where the camera sends it, and otherwise made of what it
sends. What is not asked: the best size up to 1920x1080 at 25 pictures/s or more, raw rather than MJPG at the same
size, and of the rates the highest up to 30.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from schemas.errors import BadRequest, InvalidValue
from schemas.pictures import PictureSettings
from schemas.units import parse_crop, parse_size
from services.capture.v4l2.formats import FORMATS, PREFERENCE, SensorFormat

Size = tuple[int, int]

_FLUENT_FPS = 25
_USUAL_FPS = 30
_USUAL_AREA = 1920 * 1080
_RATE_TOLERANCE = 0.01  # 30 is what people say of 29.97
_COMMON_SIZES = ((1920, 1080), (1280, 720), (640, 480))  # tried where a camera has sizes without number
_MAX_LISTED = 24  # entries in an error text


@dataclass(frozen=True)
class SizeRange:
    """All sizes from the smallest to the largest by a step; most often they are one."""

    smallest: Size
    largest: Size
    step: Size = (1, 1)

    @classmethod
    def of(cls, width: int, height: int) -> "SizeRange":
        return cls((width, height), (width, height))

    def __contains__(self, size: object) -> bool:
        if not isinstance(size, tuple):
            return False
        return all(
            low <= edge <= high and (edge - low) % step == 0
            for edge, low, high, step in zip(size, self.smallest, self.largest, self.step, strict=True)
        )

    def __str__(self) -> str:
        (width, height), (wide, high), (by, down) = self.smallest, self.largest, self.step
        if self.smallest == self.largest:
            return f"{width}x{height}"
        return f"{width}x{height} to {wide}x{high}, step {by}x{down}"


@dataclass(frozen=True)
class Mode:
    """One format in one size, or in a range of sizes, with its rates."""

    fourcc: str
    sizes: SizeRange
    rates: tuple[Fraction, ...] = ()
    """Pictures a second, the highest first; () when the camera does not tell."""
    any_rate: bool = False
    """The rates are the ends of a range."""

    def rate_for(self, fps: float | None) -> Fraction | None:
        """The camera's rate that is meant by `fps`; None when it has none such, or does not tell."""
        if not self.rates:
            return None
        if fps is None:
            usual = [rate for rate in self.rates if rate <= _USUAL_FPS * (1 + _RATE_TOLERANCE)]
            if self.any_rate and self.rates[-1] <= _USUAL_FPS <= self.rates[0]:
                return Fraction(_USUAL_FPS)
            return max(usual) if usual else min(self.rates)
        nearest = min(self.rates, key=lambda rate: abs(float(rate) - fps))
        if abs(float(nearest) - fps) <= fps * _RATE_TOLERANCE:
            return nearest
        if self.any_rate and self.rates[-1] <= fps <= self.rates[0]:
            return Fraction(fps).limit_denominator(1001)
        return None


@dataclass(frozen=True)
class Choice:
    """How the camera shall send."""

    format: SensorFormat
    width: int
    height: int
    rate: Fraction | None
    """None: its own, which it does not tell."""

    @property
    def size(self) -> Size:
        return self.width, self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.format.fourcc}"


def choose(modes: Iterable[Mode], pictures: PictureSettings, what: str) -> Choice:
    """The way to send that suits `pictures` best.

    Raises:
        InvalidValue: the camera has no such size, rate, bit depth or pixel format; lists what it has.
        BadRequest: it has no format that can be used here.
    """
    offered = list(modes)
    left = [mode for mode in offered if mode.fourcc in FORMATS]
    if not left:
        raise BadRequest(f"{what} sends {_listed(mode.fourcc for mode in offered)} only, which cannot be used here")
    turned = pictures.rotate in (90, 270)
    size = parse_size(pictures.size) if pictures.size and not pictures.crop and not turned else None
    if size:
        left = _narrow(left, lambda mode: size in mode.sizes, "size", pictures.size, lambda mode: str(mode.sizes))
    if pictures.crop:
        width, height, x, y = parse_crop(pictures.crop)
        hold = (x + width, y + height)
        left = _narrow(left, lambda mode: _holds(mode.sizes, hold), "crop", pictures.crop, lambda mode: str(mode.sizes))
    else:
        hold = (0, 0)
    if pictures.bit_depth:
        left = _narrow(
            left,
            lambda mode: FORMATS[mode.fourcc].bits == pictures.bit_depth,
            "bit_depth",
            pictures.bit_depth,
            lambda mode: str(FORMATS[mode.fourcc].bits),
        )
    asked = pictures.pixel_format
    sent = [mode for mode in left if FORMATS[mode.fourcc].mesh_format == asked]
    if asked and asked.startswith("bayer") and not sent:  # a mosaic is a sensor's; it is not made of other pictures
        raise InvalidValue("pixel_format", asked, f"the camera sends {_listed(_sent_as(mode) for mode in left)}")
    if pictures.fps:
        with_rate = [mode for mode in left if not mode.rates or mode.rate_for(pictures.fps)]
        if not with_rate:
            where = f" at {pictures.size}" if size else ""
            raise InvalidValue(
                "fps", f"{pictures.fps:g}", f"the camera has {_listed(_rates(mode) for mode in left)}{where}"
            )
        left = with_rate
    left = [mode for mode in sent if mode in left] or left
    return max(
        (_as_choice(mode, chosen, pictures.fps) for mode in left for chosen in _candidates(mode.sizes, size, hold)),
        key=_rank,
    )


def _candidates(sizes: SizeRange, size: Size | None, hold: Size) -> list[Size]:
    if size:
        return [size]
    found = [common for common in _COMMON_SIZES if common in sizes and _fits(hold, common)]
    return [*found, sizes.largest]


def _as_choice(mode: Mode, size: Size, fps: float | None) -> Choice:
    return Choice(FORMATS[mode.fourcc], *size, mode.rate_for(fps))


def _rank(choice: Choice) -> tuple[object, ...]:
    """The higher the better."""
    area = choice.width * choice.height
    usual = area <= _USUAL_AREA
    return (
        usual,
        choice.rate is None or choice.rate >= _FLUENT_FPS * (1 - _RATE_TOLERANCE),
        area if usual else -area,
        not choice.format.compressed,
        choice.rate or 0,
        -PREFERENCE[choice.format.fourcc],
    )


def _narrow(
    modes: list[Mode], suits: Callable[[Mode], bool], field: str, value: object, show: Callable[[Mode], str]
) -> list[Mode]:
    left = [mode for mode in modes if suits(mode)]
    if not left:
        raise InvalidValue(field, value, f"the camera has {_listed(map(show, modes))}")
    return left


def _holds(sizes: SizeRange, size: Size) -> bool:
    return _fits(size, sizes.largest)


def _fits(inner: Size, outer: Size) -> bool:
    return inner[0] <= outer[0] and inner[1] <= outer[1]


def _sent_as(mode: Mode) -> str:
    return FORMATS[mode.fourcc].mesh_format


def _rates(mode: Mode) -> str:
    return (" to " if mode.any_rate else ", ").join(f"{float(rate):.4g}" for rate in mode.rates)


def _listed(texts: Iterable[str]) -> str:
    unique = list(dict.fromkeys(texts))
    more = f" and {len(unique) - _MAX_LISTED} more" if len(unique) > _MAX_LISTED else ""
    return (", ".join(unique[:_MAX_LISTED]) or "none") + more
