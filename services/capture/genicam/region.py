"""What of the sensor a camera sends: width, height and offsets, which bound one another."""

from collections.abc import Callable

from schemas.errors import InvalidValue
from schemas.pictures import ControlValue, PictureSettings
from schemas.units import parse_crop, parse_size
from services.capture.genicam.camera import Camera, Feature
from services.capture.genicam.values import allowed, check_value


def device_region(pictures: PictureSettings) -> tuple[str, int, int, int | None, int | None] | None:
    """What of the sensor is asked for: the field's name, width, height, left, top (None: centred); None: as it is.

    Masks are fractions of the whole picture, so with masks the device does not crop.
    """
    if pictures.crop is not None:
        return None if pictures.masks else ("crop", *parse_crop(pictures.crop))
    if pictures.size is None:
        return None
    width, height = parse_size(pictures.size)
    if pictures.rotate in (90, 270):  # the size is that of the turned picture
        width, height = height, width
    return "size", width, height, None, None


class Region:
    """Brings one spec's region into a camera, or with `dry` only holds it against what the sensor has."""

    def __init__(
        self,
        camera: Camera,
        pictures: PictureSettings,
        set_feature: Callable[[str, Feature, ControlValue], None],
        *,
        dry: bool,
    ) -> None:
        """`set_feature`: takes the spec's field, the feature and its value."""
        self._camera = camera
        self._set_feature = set_feature
        self._dry = dry
        self._binned = pictures.binning is not None
        self._region = device_region(pictures)
        self._field = self._region[0] if self._region else ""
        self._told = getattr(pictures, self._field, None)

    def apply(self) -> None:
        """Raises:
        InvalidValue: the camera cannot; names `size` or `crop` and what it has.
        """
        if self._region is None:
            return
        _, width, height, left, top = self._region
        # The offsets bound the size and the other way round: first both to their beginning.
        for name in ("OffsetX", "OffsetY"):
            feature = self._camera.feature(name)
            if feature is not None and feature.writable and feature.value != feature.minimum:
                self._set_feature(self._field, feature, int(feature.minimum or 0))
        self._edge("Width", width)
        self._edge("Height", height)
        self._offset("OffsetX", left, width)
        self._offset("OffsetY", top, height)

    def _edge(self, name: str, value: int) -> None:
        feature = self._camera.feature(name)
        if feature is None:
            raise InvalidValue(self._field, self._told, f"this camera has no {name}; leave it out")
        if self._dry:
            # The maximum is what the present offset and binning leave.
            sensor = self._camera.feature(f"{name}Max") or self._camera.feature(f"Sensor{name}")
            limit = sensor.value if sensor and not self._binned else None
            maximum = float(limit) if isinstance(limit, int) else None
            feature = Feature(
                name=name, kind="integer", minimum=feature.minimum, maximum=maximum, increment=feature.increment
            )
        self._set(feature, value)

    def _offset(self, name: str, value: int | None, edge: int) -> None:
        feature = self._camera.feature(name)
        if feature is None or (self._dry and value is None):
            if value:
                raise InvalidValue(self._field, self._told, f"this camera has no {name}; leave it out")
            return
        step = int(feature.increment or 1)
        if value is None:  # centred
            low = int(feature.minimum or 0)
            value = low + (self._room(name, edge, feature) - low) // 2 // step * step
            if value == feature.value or not feature.writable:
                return
        if self._dry:
            feature = Feature(name=name, kind="integer", minimum=feature.minimum, increment=feature.increment)
        self._set(feature, value)

    def _room(self, name: str, edge: int, feature: Feature) -> int:
        """How far an offset may go."""
        largest = self._camera.feature("WidthMax" if name == "OffsetX" else "HeightMax")
        sensor = self._camera.feature("SensorWidth" if name == "OffsetX" else "SensorHeight")
        room = int(feature.maximum) if feature.maximum is not None else 0
        for known in (largest, sensor):
            if known is not None and isinstance(known.value, int):
                return max(0, min(known.value - edge, room or known.value))
        return room

    def _set(self, feature: Feature, value: int) -> None:
        try:
            self._set_feature(self._field, feature, check_value(feature, self._field, value, writable=not self._dry))
        except InvalidValue:
            raise InvalidValue(self._field, self._told, f"{feature.name}: use {allowed(feature)}") from None
