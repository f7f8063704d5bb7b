"""The services behind the cameras: alive, ended."""

import logging

from schemas.commands import MeshStatus, StreamChanged
from schemas.errors import InvalidValue, MeshError, NotFound
from shared.clients.smartvision.connection import abnormal, answers, ask, empty_text, mesh, nothing
from shared.clients.smartvision.inventory import KnownCamera, camera_at, known_cameras
from shared.clients.smartvision.log import say
from shared.service import VERSION

_RUNNING, _NOT_REGISTERED, _ABNORMAL = 2, 0, 4
_ALIVE = frozenset({"live", "connecting", "off"})


@answers(abnormal)
def qmm_status(idx: int = 0) -> int:
    """2: the camera's service runs; 0: there is no such camera; 4: it does not run, or the camera is lost.

    From the presence that capture shows on the stream's node, and the stream's state.
    """
    try:
        camera = camera_at(idx)
    except (NotFound, InvalidValue):
        return _NOT_REGISTERED
    return _status(mesh().status(), camera)


@answers(nothing)
def qmm_cleanup(cam_id: int = 0) -> None:
    """End a camera's stream, by `capture.stop`. It is made again by `open` only of a device, or with a `source`."""
    camera = camera_at(cam_id)
    if camera.entry is None:
        raise NotFound(f"camera {cam_id} has no stream")
    _end(camera)


@answers(nothing)
def qmm_cleanup_all() -> None:
    """As `qmm_cleanup`, of every camera that has an index; other streams stay."""
    _end_each([camera for camera in known_cameras().values() if camera.entry])


@answers(nothing)
def qmm_cleanup_invalid() -> None:
    """As `qmm_cleanup`, of every camera that delivers nothing though it should: `qmm_status` is 4."""
    status = mesh().status()
    lost = [one for one in known_cameras().values() if one.entry and _status(status, one) == _ABNORMAL]
    _end_each(lost)


@answers(empty_text)
def get_build_version() -> str:
    """Version of framemesh."""
    return VERSION


def _status(status: MeshStatus, camera: KnownCamera) -> int:
    if camera.entry is None:
        return _NOT_REGISTERED
    node, actual = camera.entry.spec.node, camera.entry.actual
    present = any(one.service == "capture" and one.node == node for one in status.services)
    alive = present and actual is not None and actual.state in _ALIVE and actual.error is None
    return _RUNNING if alive else _ABNORMAL


def _end_each(cameras: list[KnownCamera]) -> None:
    for camera in cameras:
        try:
            _end(camera)
        except MeshError as error:  # the others shall end all the same
            say(logging.ERROR, "camera %d: %s", camera.index, error.message)


def _end(camera: KnownCamera) -> None:
    ask("capture.stop", StreamChanged, stream=camera.stream)
    say(logging.INFO, "camera %d: stream %s has ended", camera.index, camera.stream)
