"""ONVIF cameras that announce themselves on the network. What they can do they tell only to those they know."""

from schemas.devices import Device
from services.capture.onvif.discovery import Announced, discover
from services.capture.settings import CaptureSettings


def find_onvif(network: bool, settings: CaptureSettings) -> list[Device]:
    """Cameras that answer within 2 s; none when the network shall not be asked."""
    return [_device(camera) for camera in discover(settings.onvif_interfaces)] if network else []


def _device(camera: Announced) -> Device:
    return Device(
        kind="onvif",
        location=camera.endpoint,
        location_id=0,  # given by the inventory
        source=f"onvif://{camera.address}:{camera.port}/",
        model=camera.model,
        vendor=camera.vendor,
        address=camera.address,
    )
