"""Industrial cameras: plugged in by USB, or answering on the network."""

from urllib.parse import quote

from schemas.devices import ControlKind, Device, DeviceControl, DeviceFormat
from schemas.errors import MeshError
from services.capture.genicam.backends import Backend, backend
from services.capture.genicam.camera import Camera, Feature, FeatureKind, Found
from services.capture.genicam.configuration import EXPOSURE
from services.capture.genicam.open_cameras import CAMERAS
from services.capture.settings import CaptureSettings

# What people set at such cameras; any other feature can be set by its name too.
_SHOWN = (
    "AcquisitionFrameRate", *EXPOSURE, "ExposureAuto", "Gain", "GainRaw", "GainAuto", "BlackLevel", "Gamma",
    "BalanceWhiteAuto", "BalanceRatio", "Width", "Height", "OffsetX", "OffsetY", "ReverseX", "ReverseY",
    "BinningHorizontal", "BinningVertical", "TriggerMode", "TriggerSource", "TriggerActivation", "TriggerDelay",
    "TriggerSoftware", "LineSelector", "LineMode", "LineInverter", "UserOutputValue", "DeviceTemperature",
    "DeviceLinkThroughputLimit", "GevSCPSPacketSize", "GevSCPD",
)  # fmt: skip
_KINDS: dict[FeatureKind, ControlKind] = {
    "integer": "integer",
    "float": "float",
    "boolean": "boolean",
    "enumeration": "menu",
    "string": "string",
    "command": "button",
}


def find_genicam(network: bool, settings: CaptureSettings) -> list[Device]:
    """USB cameras, and GigE cameras when the network is asked too. Each is opened for a moment, unless it runs.

    Raises:
        Unavailable: no library for them is installed.
    """
    way = backend(settings)
    return [_device(way, found) for found in way.find(network)]


def _device(way: Backend, found: Found) -> Device:
    formats: tuple[DeviceFormat, ...] = ()
    controls: tuple[DeviceControl, ...] = ()
    problem = ""
    try:
        if running := CAMERAS.running(found.location):
            formats, controls = _looked_at(running)
        else:
            with CAMERAS.opened(found, way.open) as camera:
                formats, controls = _looked_at(camera)
    except MeshError as error:
        problem = error.message
    return Device(
        kind="genicam",
        location=found.location,
        location_id=0,  # given by the inventory
        source=f"genicam://{quote(found.name.replace(' ', '-'), safe='')}",
        model=found.model,
        vendor=found.vendor,
        serial=found.serial,
        address=found.address,
        formats=formats,
        controls=controls,
        error=problem,
    )


def _looked_at(camera: Camera) -> tuple[tuple[DeviceFormat, ...], tuple[DeviceControl, ...]]:
    with camera.lock:
        known = {name: feature for name in _SHOWN if (feature := camera.feature(name))}
        pixel_format = camera.feature("PixelFormat")
        largest = _size(camera, "WidthMax", "HeightMax") or _size(camera, "SensorWidth", "SensorHeight")
    width, height, rate = (known.get(name) for name in ("Width", "Height", "AcquisitionFrameRate"))
    smallest = ""
    if width and height and width.minimum is not None and height.minimum is not None:
        smallest = f"{width.minimum:.0f}x{height.minimum:.0f}"
    fps = (rate.minimum, rate.maximum) if rate and rate.minimum is not None and rate.maximum is not None else ()
    sizes = tuple(size for size in (smallest, largest) if size)
    entries = pixel_format.entries if pixel_format else ()
    formats = tuple(DeviceFormat(pixel_format=entry, sizes=sizes, fps=fps) for entry in entries)
    return formats, tuple(_control(feature) for feature in known.values())


def _size(camera: Camera, width: str, height: str) -> str:
    edges = [feature.value for name in (width, height) if (feature := camera.feature(name))]
    return "x".join(map(str, edges)) if len(edges) == 2 and None not in edges else ""


def _control(feature: Feature) -> DeviceControl:
    return DeviceControl(
        name=feature.name,
        kind=_KINDS[feature.kind],
        value=feature.value,
        minimum=feature.minimum,
        maximum=feature.maximum,
        step=feature.increment,
        options=feature.entries,
        unit=feature.unit,
        writable=feature.writable,
    )
