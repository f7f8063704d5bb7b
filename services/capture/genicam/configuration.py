"""A stream's picture settings brought into a camera, or only held against it."""

import contextlib
import logging

from schemas.errors import InvalidValue, Unavailable
from schemas.pictures import ControlValue, PictureSettings
from schemas.units import parse_binning
from services.capture.genicam.camera import Camera, Feature, FeatureRefused
from services.capture.genicam.pixel_formats import choose, known_format
from services.capture.genicam.region import Region
from services.capture.genicam.values import allowed, check_value, feature_for

log = logging.getLogger(__name__)

# The same thing has had several names; the standard's own first.
EXPOSURE = ("ExposureTime", "ExposureTimeAbs", "ExposureTimeRaw")
_RATE_ENABLE = ("AcquisitionFrameRateEnable", "AcquisitionFrameRateEnabled")
_RATE = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
SOFTWARE = "software"
# What is read with each picture where the camera sends it.
_CHUNKS = ("ExposureTime", "Gain", "FrameID", "CounterValue", "LineStatusAll", "Timestamp", "EncoderValue")


class Configuration:
    """Brings settings into a camera, in the order that the standard wants, and remembers how to put all back.

    With `dry` nothing is set: values are held against the camera as it is, and what depends on an earlier setting (a
    size after binning) is left to the camera.
    """

    def __init__(
        self, camera: Camera, *, dry: bool = False, undo: list[tuple[str, ControlValue]] | None = None
    ) -> None:
        """`undo`: what is changed is noted here, and what is noted here already can be put back."""
        self._camera = camera
        self._dry = dry
        self._undo = [] if undo is None else undo

    def apply(self, pictures: PictureSettings) -> None:
        """Raises:
        InvalidValue: the camera cannot; it is as it was.
        Unavailable: it went away.
        """
        with self._camera.lock:
            try:
                self._optional("AcquisitionMode", "Continuous")
                self._pixel_format(pictures)
                self._binning(pictures)
                Region(self._camera, pictures, self._set, dry=self._dry).apply()
                self._trigger(pictures)
                self._rate(pictures)
                for name, value in pictures.controls.items():
                    self.control(name, value)
            except InvalidValue:
                self.put_back()
                raise

    def control(self, name: str, value: ControlValue) -> None:
        """Set one feature by name."""
        field = f"controls.{name}"
        feature = feature_for(self._camera, field, name, value)
        self._set(field, feature, check_value(feature, field, value, writable=not self._dry))

    def rate(self, fps: float) -> None:
        """Raises:
        InvalidValue: outside what the camera can do now.
        """
        feature = self._first(_RATE)
        if feature is None:
            raise InvalidValue("fps", fps, "this camera has no rate of its own; leave it out")
        for name in _RATE_ENABLE:
            self._optional(name, True)
        feature = feature_for(self._camera, "fps", feature.name, fps)  # enabling may have changed its range
        self._set("fps", feature, check_value(feature, "fps", fps, writable=not self._dry))

    def original(self, name: str) -> ControlValue | None:
        """What a feature was before it was set first."""
        return next((value for changed, value in self._undo if changed == name), None)

    def put_back(self, mark: int = 0) -> None:
        """Undo what was set since `mark`, last first. What the camera refuses is left, and logged."""
        with self._camera.lock:
            while len(self._undo) > mark:
                name, value = self._undo.pop()
                try:
                    self._camera.set(name, value)
                except FeatureRefused as error:
                    log.warning("a camera's feature was not put back", extra={"feature": name, "reason": str(error)})

    @property
    def mark(self) -> int:
        return len(self._undo)

    # -- one setting each ------------------------------------------------------------------------------------

    def _pixel_format(self, pictures: PictureSettings) -> None:
        feature = self._camera.feature("PixelFormat")
        if feature is None:
            return
        current = str(feature.value or "")
        chosen = choose(feature.entries, current, pictures.pixel_format, pictures.bit_depth)
        if chosen is None:
            field = "bit_depth" if pictures.bit_depth and not pictures.pixel_format else "pixel_format"
            has = [f"{name} ({known.becomes})" for name in feature.entries if (known := known_format(name))]
            value = getattr(pictures, field) or current
            raise InvalidValue(field, value, f"this camera has {', '.join(has) or 'no format that can be carried'}")
        if chosen != current:
            self._set("pixel_format", feature, chosen)

    def _binning(self, pictures: PictureSettings) -> None:
        if pictures.binning is None:
            return
        for name, factor in zip(("BinningHorizontal", "BinningVertical"), parse_binning(pictures.binning), strict=True):
            feature = self._camera.feature(name)
            if feature is None:
                raise InvalidValue("binning", pictures.binning, "this camera has no binning; leave it out")
            try:
                value = check_value(feature, "binning", factor, writable=not self._dry)
            except InvalidValue:
                raise InvalidValue("binning", pictures.binning, f"{name}: use {allowed(feature)}") from None
            self._set("binning", feature, value)

    def _trigger(self, pictures: PictureSettings) -> None:
        mode = self._camera.feature("TriggerMode")
        if pictures.trigger is None:
            if mode is not None:
                self._optional("TriggerSelector", "FrameStart")
                self._optional("TriggerMode", "Off")
            return
        source = self._camera.feature("TriggerSource")
        if mode is None or source is None:
            raise InvalidValue("trigger", pictures.trigger, "this camera has no trigger; leave it out")
        wanted = pictures.trigger
        named = "Software" if wanted.lower() == SOFTWARE else wanted
        if named not in source.entries:
            names = ", ".join(SOFTWARE if name == "Software" else name for name in source.entries)
            raise InvalidValue("trigger", wanted, f"this camera has {names}")
        self._optional("TriggerSelector", "FrameStart")
        # The source first: a camera that is already told to wait would take one from the old source.
        self._set("trigger", source, named)
        self._set("trigger", mode, "On")

    def _rate(self, pictures: PictureSettings) -> None:
        if pictures.fps is not None and pictures.trigger is None:  # the trigger makes the rate
            self.rate(pictures.fps)

    # -- setting ---------------------------------------------------------------------------------------------

    def _first(self, names: tuple[str, ...]) -> Feature | None:
        return next((feature for name in names if (feature := self._camera.feature(name))), None)

    def _optional(self, name: str, value: ControlValue) -> None:
        """Set where it is there, lets itself be set and is not so already."""
        feature = self._camera.feature(name)
        if feature is None or not feature.writable or feature.value == value:
            return
        if feature.kind == "enumeration" and value not in feature.entries:
            return
        self._set(name, feature, value)

    def _set(self, field: str, feature: Feature, value: ControlValue) -> None:
        if self._dry:
            return
        try:
            self._camera.set(feature.name, value)
        except FeatureRefused as error:
            if self._camera.lost.is_set() or not self._camera.answers():
                raise Unavailable(f"camera {self._camera.found.name} went away while it was set up") from None
            raise InvalidValue(field, value, f"the camera refuses {feature.name}: {error}") from None
        if feature.value is not None and feature.kind != "command":
            self._undo.append((feature.name, feature.value))


def enable_chunks(camera: Camera) -> None:
    """Have the camera say with each picture how it was taken, where it can; not having it is no error."""
    with camera.lock, contextlib.suppress(FeatureRefused):
        selector = camera.feature("ChunkSelector")
        if selector is None or not camera.has("ChunkModeActive"):
            return
        camera.set("ChunkModeActive", True)
        enabled = []
        for entry in selector.entries:
            if entry not in _CHUNKS:
                continue
            with contextlib.suppress(FeatureRefused):
                camera.set("ChunkSelector", entry)
                if not ((enable := camera.feature("ChunkEnable")) and enable.value is True):
                    camera.set("ChunkEnable", True)
                enabled.append(f"Chunk{entry}")
        camera.read_chunks(tuple(enabled))
