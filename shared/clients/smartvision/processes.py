"""The services behind the cameras: alive, ended."""

import logging

from schemas.commands import MeshStatus, StreamChanged
from schemas.errors import InvalidValue, MeshError, NotFound, Unavailable
from shared.clients.smartvision.connection import abnormal, answers, ask, empty_text, mesh, nothing
from shared.clients.smartvision.inventory import KnownCamera, camera_at, known_cameras
from shared.clients.smartvision.log import say
from shared.clients.smartvision.owners import answers_now, owner_of, restart_owner
from shared.service import VERSION

_RUNNING, _NOT_REGISTERED, _ABNORMAL = 2, 0, 4
_NOT_DONE_YET = 202
_ALIVE = frozenset({"live", "connecting", "off"})


@answers(abnormal)
def qmm_status(idx: int = 0) -> int:
    """2: the camera's service runs; 0: there is no such camera; 4: it does not run, or the camera is lost.

    From the presence of the capture that has the stream, the stream's state, and what that capture answers.
    """
    try:
        camera = camera_at(idx)
    except (NotFound, InvalidValue):
        return _NOT_REGISTERED
    status = _status(mesh().status(), camera)
    return status if status != _RUNNING or answers_now(camera) else _ABNORMAL


@answers(nothing)
def qmm_cleanup(cam_id: int = 0) -> None:
    """End a camera's stream, by `capture.stop`. It is made again by `open` only of a device, or with a `source`.

    Where the process or container that has it hangs, that one is ended and started again, by `fleet.<node>.restart`;
    that needs the credentials of who operates the mesh.
    """
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
    cameras = [one for one in known_cameras().values() if one.entry]
    lost = [one for one in cameras if _status(status, one) == _ABNORMAL or not answers_now(one)]
    _end_each(lost)


@answers(empty_text)
def get_build_version() -> str:
    """Version of framemesh."""
    return VERSION


def _status(status: MeshStatus, camera: KnownCamera) -> int:
    if camera.entry is None:
        return _NOT_REGISTERED
    actual = camera.entry.actual
    alive = actual is not None and actual.state in _ALIVE and actual.error is None
    return _RUNNING if alive and owner_of(status, camera.entry) else _ABNORMAL


def _end_each(cameras: list[KnownCamera]) -> None:
    for camera in cameras:
        try:
            _end(camera)
        except MeshError as error:  # the others shall end all the same
            say(logging.ERROR, "camera %d: %s", camera.index, error.message)


def _end(camera: KnownCamera) -> None:
    try:
        hangs = ask("capture.stop", StreamChanged, stream=camera.stream).code == _NOT_DONE_YET
        ended = True
    except Unavailable:  # the only capture of the mesh may be what hangs
        hangs, ended = True, False
    if hangs:
        restart_owner(camera)
    if not ended:
        ask("capture.stop", StreamChanged, stream=camera.stream)
    say(logging.INFO, "camera %d: stream %s has ended", camera.index, camera.stream)
