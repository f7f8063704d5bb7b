"""What is done to each picture on its way into the ring: masks, crop, rotate, size, pixel format, in this order.

Milliseconds a picture of 1920x1080 costs, yuv420p from a decoder, in one thread of a quiet machine (a plain copy of as
many bytes takes 0.21): nothing asked 0.26, crop to 1280x720 0.14, two masks 0.28, rotate 180 0.9, rotate 90 1.1, size
1280x720 0.8, with masks 1.1, nv12 0.7, bgr24 1.2, bgr24 and rotate 90 2.4, all five 1.2. A camera's: gray12le 0.3 and
turned 1.0; bayer_rggb8 0.15, turned 0.7, to bgr24 3.3, to yuv420p 5.8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from av.video.frame import VideoFrame

from schemas.colours import RGB, UNSPECIFIED, ColourSpace
from schemas.errors import InvalidValue
from schemas.frames import PixelFormat
from schemas.pictures import PictureSettings
from schemas.resources import StreamSpec
from schemas.units import parse_crop, parse_size
from services.capture.masks import Area, blacken, mask_area
from shared import pixel_formats
from shared.media.colour.facts import after_conversion, colour_space_of, mark, stated
from shared.media.frames import array_frame, convert, frame_planes
from shared.pixel_formats import Picture
from shared.ring import RingGeometry

_KNOWN: Final[dict[str, PixelFormat]] = {name: name for name in pixel_formats.ALL}
_TURN_TILE: Final = 128  # pixels; a tile's lines stay in the cache while they become columns: half the time
# Other formats are converted before they are masked; their samples of colour cover at most 8 pixels (yuv410p, with
# libav's filter), and what one of them held must not show beside the mask.
_FOREIGN_MARGIN_PIXELS: Final = 8
_MAX_PLANS: Final = 16  # a source that changes its size with every picture must not eat the memory


# What the sink and its shaper take on from one picture to the next, whatever the source.
_TAKEN_ON: Final = frozenset((
    "size", "fps", "crop", "rotate", "masks", "pixel_format", "timecode", "stall_after", "frozen_after", "on_loss",
    "history", "voice",
))  # fmt: skip
_UNSHAPED_FIELDS: Final = tuple(name for name in StreamSpec.__struct_fields__ if name not in _TAKEN_ON)


def only_shaping_changed(before: StreamSpec, after: StreamSpec) -> bool:
    """Whether a source that has no such settings itself can go on as it is.

    Not when masks come or go: a stream with masks has no packets of its own, one without has.
    """
    if bool(before.masks) != bool(after.masks):
        return False
    return all(getattr(before, name) == getattr(after, name) for name in _UNSHAPED_FIELDS)


@dataclass(frozen=True)
class Shaped:
    """A picture as it will be: `fill` writes it into an array of this geometry, once."""

    geometry: RingGeometry
    fill: Callable[[Picture], None]
    colour_space: ColourSpace = UNSPECIFIED


@dataclass(frozen=True)
class _Plan:
    """What is done to pictures of one format and size."""

    geometry: RingGeometry
    area: Area
    """What is left of the source's picture."""
    quarters: int
    """Clockwise turns by 90 degrees."""
    whole: bool
    """The source's picture as it is goes to libav, or straight into the slot."""
    taken_as: PixelFormat
    """Format of the planes that are cropped and turned."""
    middle: PixelFormat
    """The same after turning."""
    size: tuple[int, int]
    """Width and height after turning."""
    source_height: int
    masks: tuple[Area, ...]
    """Before scaling."""
    masks_after: tuple[Area, ...]

    @property
    def direct(self) -> bool:
        """libav has nothing to convert or scale."""
        geometry = self.geometry
        return self.middle == geometry.pixel_format and self.size == (geometry.width, geometry.height)


class Shaper:
    """Shapes one stream's pictures as its settings say; for one thread. New settings are a new shaper."""

    def __init__(self, settings: PictureSettings) -> None:
        """Raises:
        InvalidValue: a size or crop that is none.
        """
        self._settings = settings
        self._size = parse_size(settings.size) if settings.size else None
        self._crop = parse_crop(settings.crop) if settings.crop else None
        self.masks = settings.masks
        self._plans: dict[tuple[str, int, int, bool], _Plan] = {}
        self._newest: tuple[str, int, int, bool] | None = None
        """Format, width and height of the newest picture, and whether it keeps its format."""
        self._scratch: tuple[PixelFormat, int, int, VideoFrame] | None = None

    def frame(self, frame: VideoFrame) -> Shaped:
        """A decoded picture of any format; never written to, and not used after `fill`.

        Raises:
            InvalidValue: what is asked for cannot be had of this picture.
        """
        name = frame.format.name
        plan = self._plan(name, frame.width, frame.height, keep_format=False)

        def fill(target: Picture) -> None:
            source = frame
            if name not in _KNOWN:
                if plan.whole:
                    self._convert(source, plan, target)
                    return
                source = convert(source, plan.taken_as)
            self._fill(target, frame_planes(source, plan.taken_as), plan, source)

        return Shaped(plan.geometry, fill, self._colours(colour_space_of(frame), name, frame.height, plan))

    def image(self, array: Picture, pixel_format: PixelFormat, colour_space: ColourSpace = UNSPECIFIED) -> Shaped:
        """A camera's picture, shape and type as in `shared.pixel_formats`; not used after `fill`.

        Raises:
            InvalidValue: what is asked for cannot be had of this picture; the array is not of this format.
        """
        width, height = _size_of(array, pixel_format)
        plan = self._plan(pixel_format, width, height, keep_format=True)

        def fill(target: Picture) -> None:
            packed = np.ascontiguousarray(array) if pixel_format in pixel_formats.SUBSAMPLED else array
            self._fill(target, pixel_formats.planes(packed, pixel_format, width, height), plan, None, colour_space)

        return Shaped(plan.geometry, fill, self._colours(colour_space, pixel_format, height, plan))

    def check_pictures_of(self, before: "Shaper") -> None:
        """Hold these settings against the picture that another shaper has had last; from any thread.

        Raises:
            InvalidValue: what is asked for cannot be had of it.
        """
        if before._newest is not None:
            name, width, height, keep_format = before._newest
            self._make_plan(name, width, height, keep_format=keep_format)

    def _colours(self, space: ColourSpace, name: str, height: int, plan: _Plan) -> ColourSpace:
        kept = plan.geometry.pixel_format
        if name not in _KNOWN or not plan.direct:
            return after_conversion(space, name, kept, height)
        if kept in pixel_formats.SUBSAMPLED and plan.geometry.height != height:
            return stated(space, height)  # a matrix goes by the height of the picture that it was made for
        return RGB if kept in pixel_formats.PACKED and space is UNSPECIFIED else space

    # -- what to do ------------------------------------------------------------------------------------------

    def _plan(self, name: str, width: int, height: int, *, keep_format: bool) -> _Plan:
        key = self._newest = (name, width, height, keep_format)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make_plan(name, width, height, keep_format=keep_format)
        return plan

    def _make_plan(self, name: str, width: int, height: int, *, keep_format: bool) -> _Plan:
        settings = self._settings
        known = _KNOWN.get(name)
        wanted = settings.pixel_format or (known if keep_format and known else "yuv420p")
        quarters = settings.rotate // 90
        taken_as = known or wanted
        middle = pixel_formats.turned(taken_as, quarters)
        if keep_format and not settings.pixel_format:
            wanted = middle
        if wanted in pixel_formats.MOSAICS and (middle != wanted or not known):
            what = middle if known else name
            raise InvalidValue("pixel_format", wanted, f"the pictures are {what} here; ask for that, or for another")
        area = self._area(width, height, even=bool({taken_as, wanted} & _CELLED))
        size = (area.right - area.left, area.bottom - area.top)
        turned_size = (size[1], size[0]) if quarters % 2 else size
        geometry = RingGeometry(wanted, *(self._size or turned_size))
        if wanted in pixel_formats.MOSAICS and self._size not in (None, turned_size):
            fix = f"{wanted} cannot be scaled; use {turned_size[0]}x{turned_size[1]}, or another pixel_format"
            raise InvalidValue("size", settings.size, fix)
        margin_pixels = 0 if known else _FOREIGN_MARGIN_PIXELS
        covered = [mask_area(mask, width, height, margin_pixels).within(area) for mask in settings.masks]
        masks = tuple(part.turned(quarters, *size) for part in covered if part is not None)
        return _Plan(
            geometry=geometry,
            area=area,
            quarters=quarters,
            whole=not masks and not quarters and size == (width, height),
            taken_as=taken_as,
            middle=middle,
            size=turned_size,
            source_height=height,
            masks=masks,
            masks_after=tuple(mask.scaled(turned_size, (geometry.width, geometry.height)) for mask in masks),
        )

    def _area(self, width: int, height: int, *, even: bool) -> Area:
        """What is left of a picture after crop, without the odd line or column that 4:2:0 and mosaics cannot have."""
        if self._crop is not None:
            crop_width, crop_height, left, top = self._crop
            if left + crop_width > width or top + crop_height > height:
                fix = f"the source's pictures are {width}x{height}; keep the area within"
                raise InvalidValue("crop", self._settings.crop, fix)
            return Area(left, top, left + crop_width, top + crop_height)
        return Area(0, 0, width & ~1, height & ~1) if even else Area(0, 0, width, height)

    # -- doing it --------------------------------------------------------------------------------------------

    def _fill(
        self,
        target: Picture,
        planes: list[Picture],
        plan: _Plan,
        frame: VideoFrame | None,
        colour_space: ColourSpace = UNSPECIFIED,
    ) -> None:
        placed = [_placed(plane, 2 if number else 1, plan) for number, plane in enumerate(planes)]
        if plan.direct:
            geometry = plan.geometry
            targets = pixel_formats.planes(target, geometry.pixel_format, geometry.width, geometry.height)
            _copy(targets, placed, plan.quarters)
            blacken(targets, plan.masks_after)
            return
        if frame is None or not plan.whole:
            frame = self._as_frame(placed, plan, frame, colour_space)
        self._convert(frame, plan, target)

    def _as_frame(
        self, placed: list[Picture], plan: _Plan, origin: VideoFrame | None, colour_space: ColourSpace
    ) -> VideoFrame:
        """The cropped, turned and masked picture for libav."""
        one_plane = len(placed) == 1 and placed[0][0].flags.c_contiguous
        if one_plane and not plan.masks and not plan.quarters:
            return array_frame(placed[0], plan.middle, *plan.size)
        # A copy: what is masked must not get into libav's filters, and a decoder's picture must stay as it is.
        frame = self._scratch_frame(plan)
        targets = frame_planes(frame, plan.middle)
        _copy(targets, placed, plan.quarters)
        blacken(targets, plan.masks)
        if plan.middle in pixel_formats.SUBSAMPLED:
            mark(frame, stated(colour_space_of(origin) if origin is not None else colour_space, plan.source_height))
        return frame

    def _scratch_frame(self, plan: _Plan) -> VideoFrame:
        key = (plan.middle, *plan.size)
        if self._scratch is None or self._scratch[:3] != key:
            self._scratch = (*key, VideoFrame(*plan.size, plan.middle))
        return self._scratch[3]

    def _convert(self, frame: VideoFrame, plan: _Plan, target: Picture) -> None:
        geometry = plan.geometry
        pixel_format, width, height = geometry.pixel_format, geometry.width, geometry.height
        targets = pixel_formats.planes(target, pixel_format, width, height)
        # libav writes to memory of its own only, so one more copy.
        _copy(targets, frame_planes(convert(frame, pixel_format, width, height, plan.source_height), pixel_format), 0)
        blacken(targets, plan.masks_after)


_CELLED: Final = pixel_formats.SUBSAMPLED | pixel_formats.MOSAICS


def _placed(plane: Picture, pixels: int, plan: _Plan) -> Picture:
    """The part of a plane that is left, turned: a view. A sample of it covers so many `pixels` in both directions."""
    area = plan.area
    part = plane[area.top // pixels : area.bottom // pixels, area.left // pixels : area.right // pixels]
    return np.rot90(part, -plan.quarters)


def _copy(targets: list[Picture], sources: list[Picture], quarters: int) -> None:
    for target, source in zip(targets, sources, strict=True):
        if quarters == 0:
            np.copyto(target, source)
        else:
            _copy_turned(_in_one_piece(target), _in_one_piece(source), quarters)


def _in_one_piece(plane: Picture) -> Any:
    """A view with one element for each place, where there are several samples: a third of the time when turned."""
    if plane.ndim == 2:
        return plane
    if plane.strides[2] != plane.itemsize:  # somebody else's array, with its colours by turns
        plane = np.ascontiguousarray(plane)
    return plane.view(np.uint16 if plane.shape[2] == 2 else "V3")[..., 0]


def _copy_turned(target: Any, source: Any, quarters: int) -> None:
    if quarters % 2 == 0:
        np.copyto(target, source)
    else:
        for top in range(0, target.shape[0], _TURN_TILE):
            for left in range(0, target.shape[1], _TURN_TILE):
                tile = slice(top, top + _TURN_TILE), slice(left, left + _TURN_TILE)
                np.copyto(target[tile], source[tile])


def _size_of(array: Picture, pixel_format: PixelFormat) -> tuple[int, int]:
    height, width = array.shape[:2] if array.ndim >= 2 else (0, 0)
    if pixel_format in pixel_formats.SUBSAMPLED:
        height = height * 2 // 3
    dtype = pixel_formats.sample_type(pixel_format)
    if array.shape != pixel_formats.array_shape(pixel_format, width, height) or array.dtype != dtype:
        fix = f"{pixel_format} pictures are {dtype.__name__}, of the shape in shared.pixel_formats"
        raise InvalidValue("array", f"{array.dtype} {array.shape}", fix)
    return width, height
