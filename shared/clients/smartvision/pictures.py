"""Pictures as OpenCV has them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.capture_commands import Snapshot
from schemas.errors import InternalError, InvalidValue, Unavailable
from shared.clients.smartvision.capture import running_capture
from shared.clients.smartvision.connection import answers, ask, nothing
from shared.clients.smartvision.image import Image
from shared.clients.smartvision.inventory import camera_at

Bgr = NDArray[np.uint8]

_SNAPSHOT_QUALITY: Final = 95  # of 100: beyond that files double for what no eye sees
_WAIT_SECONDS: Final = 5.0
_LONGEST_WAIT_SECONDS: Final = 60.0  # what the command takes
_MILLISECONDS: Final = 1_000


@answers(nothing)
def image_read(idx: int = 0) -> Bgr | None:
    """The newest picture of a camera, uint8, shape (height, width, 3), blue first: of a camera that this program
    captures from the ring, else by `capture.<stream>.snapshot`, as a JPEG. None when there is none."""
    camera = camera_at(idx)
    capture = running_capture(camera.stream)
    newest = capture.newest(0) if capture else None
    return newest.bgr() if newest else _snapshot(camera.stream, _WAIT_SECONDS)


@answers(nothing)
def get_cvimage(img: Image | None, idx: int, max_timeout_ms: int) -> Bgr | None:
    """An image as OpenCV has it: uint8, shape (height, width, 3), blue first; a copy that the program may change.

    Args:
        img: as a callback was given it; None: the newest of camera `idx`, waited for up to `max_timeout_ms`.

    Returns:
        None when there was none in time, or `img` is no Image.
    """
    if img is not None:
        if not isinstance(img, Image):
            raise InvalidValue("img", type(img).__name__, "give the Image of a callback, or None")
        return img.bgr()
    wait_seconds = min(max(max_timeout_ms, 0) / _MILLISECONDS, _LONGEST_WAIT_SECONDS)
    camera = camera_at(idx)
    capture = running_capture(camera.stream)
    if capture is None:
        return _snapshot(camera.stream, wait_seconds)
    newest = capture.newest(wait_seconds)
    if newest is None:
        raise Unavailable(f"no picture of camera {idx} within {max_timeout_ms} ms")
    return newest.bgr()


def _snapshot(stream: str, wait_seconds: float) -> Bgr:
    """A picture by command, wherever the camera is.

    Raises:
        MeshError: capture's own.
    """
    request = {"format": "jpg", "quality": _SNAPSHOT_QUALITY, "wait_s": wait_seconds}
    found = ask(f"capture.{stream}.snapshot", Snapshot, **request)
    import av  # optional for programs that take pictures in place

    decoder = av.CodecContext.create("mjpeg", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    pictures = [*decoder.decode(av.Packet(found.data)), *decoder.decode(None)]
    if not pictures:
        raise InternalError(f"the snapshot of {stream} is no JPEG")
    return pictures[0].to_ndarray(format="bgr24").astype(np.uint8, copy=False)
