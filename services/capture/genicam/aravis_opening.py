"""Cameras that are plugged in, and opening one, through aravis."""

import ctypes
import threading
from collections.abc import Iterator

from schemas.errors import Unavailable
from services.capture.genicam import gvcp
from services.capture.genicam.aravis_camera import AravisCamera
from services.capture.genicam.aravis_heartbeat import TIMEOUT_MS
from services.capture.genicam.aravis_library import Aravis, aravis
from services.capture.genicam.camera import ControlledError, FeatureRefused, Found
from services.capture.genicam.description import check_description, check_places

_ANSWER_SECONDS = 0.6  # for each of two questions
_usb_lock = threading.Lock()  # aravis keeps one list of USB devices, unguarded


def find_usb() -> Iterator[Found]:
    """USB3 Vision cameras that are plugged in.

    Raises:
        Unavailable: aravis is not installed.
    """
    library = aravis()
    with _usb_lock:
        interface = library.arv_uv_interface_get_instance()
        library.arv_interface_update_device_list(interface)
        found = [
            _usb_device(library, interface, index) for index in range(library.arv_interface_get_n_devices(interface))
        ]
    yield from found


def _usb_device(library: Aravis, interface: int, index: int) -> Found:
    def text(what: str) -> str:
        raw = getattr(library, f"arv_interface_get_device_{what}")(interface, index)
        return (raw or b"").decode("utf-8", "replace")

    return Found(
        location=f"usb-{text('physical_id')}",
        vendor=text("vendor"),
        model=text("model"),
        serial=text("serial_nbr"),
        handle=text("id").encode(),
    )


def open_aravis(found: Found) -> "AravisCamera":
    """Open a camera and take control of it.

    Raises:
        ControlledError: another program controls it.
        Unavailable: it does not answer, or its description is unfit.
    """
    library = aravis()
    called = f"camera {found.name}"
    try:
        if found.address:
            device = _open_gige(library, found)
        else:
            with _usb_lock:
                interface = library.arv_uv_interface_get_instance()
                device = library.call("arv_interface_open_device", interface, found.handle)
    except FeatureRefused as error:
        raise Unavailable(f"{called} cannot be opened ({error}); is it used by another program?") from None
    if not device:
        raise Unavailable(f"{called} does not answer; check its power, cable and address")
    try:
        check_description(called, _description(library, device))
        return AravisCamera(library, found, device)
    except BaseException:
        library.g_object_unref(device)  # or it would stay ours, and nobody would get it
        raise


def _description(library: Aravis, device: int) -> bytes:
    size = ctypes.c_size_t()
    address = library.arv_device_get_genicam_xml(device, ctypes.byref(size))
    return ctypes.string_at(address, size.value) if address else b""


def _open_gige(library: Aravis, found: Found) -> int | None:
    places = gvcp.description_places(found.address, _ANSWER_SECONDS)
    if places is None:
        return None
    check_places(f"camera {found.name}", *places)
    ours, its = library.address(found.interface_address.encode()), library.address(found.address.encode())
    try:
        device: int | None = library.call("arv_gv_device_new", ours, its)
    finally:
        library.g_object_unref(ours)
        library.g_object_unref(its)
    # Not asked before who controls it: there are cameras that take a question for a sign of life of their controller.
    if device and not library.arv_gv_device_is_controller(device):
        library.g_object_unref(device)
        raise ControlledError(
            f"camera {found.name} at {found.address} is controlled by another program, or by one that ended less than "
            f"{TIMEOUT_MS / 1000:g} s ago; end that program or wait"
        )
    return device
