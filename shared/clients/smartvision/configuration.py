"""How cameras are set: read, changed, judged."""

import contextlib
import logging

import msgspec

from schemas.commands import StreamChanged, StreamEntry
from schemas.errors import InvalidValue, MeshError, NotFound, error_from_code
from schemas.pictures import ControlValue, PictureSettings
from shared.clients.smartvision.connection import answers, ask, empty_text, minus_one
from shared.clients.smartvision.inventory import KnownCamera, camera_at, camera_called, stream_name
from shared.clients.smartvision.log import say
from shared.clients.smartvision.profile import Profile, pictures_of, profile_text, read_profile
from shared.urls import redact


@answers(empty_text)
def get_camera_info(idx: int = 0) -> str:
    """How a camera is set now: a JSON text that is a configuration file for it, from `capture.list`; "" without it."""
    camera = camera_at(idx)
    pictures = pictures_of(camera.entry.spec) if camera.entry else PictureSettings()
    return profile_text(camera, pictures, complete=False)


@answers(empty_text)
def get_camera_default_setting(idx: int = 0) -> str:
    """A configuration file with every setting at its default, and each control at the device's own, as JSON.

    From `capture.<node>.devices`; changes nothing. "" without the camera.
    """
    camera = camera_at(idx)
    controls: dict[str, ControlValue] = {}
    if camera.device:
        controls = {
            control.name: control.default
            for control in camera.device.controls
            if control.default is not None and control.writable
        }
    return profile_text(camera, PictureSettings(controls=controls), complete=True)


@answers(minus_one)
def configure_camera(file_path: str, set_property: bool, validation: bool) -> int:
    """Give a camera the settings of a file, by `capture.<stream>.configure`; which camera is its `cam_id` (0).

    Its `source` is for `Camera.open` only.

    Args:
        set_property: False only judges the file.
        validation: False leaves the judgement to the camera.

    Returns:
        0; -1: refused, the log names the key, and the camera is as it was.
    """
    profile = read_profile(file_path, validation=validation)
    camera = camera_at(profile.index())
    if profile.source is not None and camera.entry and redact(profile.source)[0] != camera.entry.spec.source:
        say(logging.WARNING, "configure_camera: source is left as it is; open the camera with %s", file_path)
    configure(camera.stream, profile.pictures, apply=set_property, validate=validation)
    return 0


@answers(minus_one)
def set_bpp_binning(cam_id: str, binning_flag: int, hb: int, vb: int, bpp_flag: int, bpp: int) -> int:
    """Set pixel binning and bit depth of a camera, by `capture.<stream>.configure`.

    Args:
        cam_id: its name, as `get_cam_id`.
        binning_flag, bpp_flag: 0 leaves that setting as it is.
        hb, vb: sensor pixels that become one, horizontally and vertically.
        bpp: bits a sample.

    Returns:
        0; -1: the camera cannot do it, and is as it was.
    """
    camera = camera_called(cam_id)
    if camera.entry is None:
        raise NotFound(f"camera {cam_id!r} is not open; open it first")
    changes: dict[str, object] = {}
    if binning_flag:
        changes["binning"] = f"{hb}x{vb}"
    if bpp_flag:
        changes["bit_depth"] = bpp
    pictures = msgspec.structs.replace(pictures_of(camera.entry.spec), **changes)
    try:
        pictures = msgspec.convert(msgspec.to_builtins(pictures), PictureSettings)
    except msgspec.ValidationError as error:
        raise InvalidValue("bpp", bpp, str(error)) from None
    configure(camera.stream, pictures)
    return 0


def configure(stream: str, pictures: PictureSettings, *, apply: bool = True, validate: bool = True) -> None:
    """Give a running stream these settings and no others.

    Raises:
        MeshError: refused; names the key, and the camera is as it was.
    """
    request = {"profile": msgspec.to_builtins(pictures), "apply": apply, "validate": validate}
    _check(ask(f"capture.{stream}.configure", StreamChanged, **request))


def open_stream(index: int, profile: Profile | None) -> str:
    """The stream of a camera, made where there is none: from the profile's source, or from its device.

    Raises:
        NotFound: there is neither a stream nor a device, and no source is given.
        MeshError: the camera refuses; names the key.
    """
    pictures = profile.pictures if profile else None
    camera = _find(index, given=profile is not None and profile.source is not None)
    entry = camera.entry if camera else None
    source = (profile.source if profile else None) or (camera.device.source if camera and camera.device else None)
    stream = camera.stream if camera else stream_name(index)
    if entry is not None and (profile is None or profile.source in (None, entry.spec.source)):
        if pictures is not None and pictures != pictures_of(entry.spec):
            configure(stream, pictures)
        return stream
    assert source is not None  # a camera without a stream is a device, which has a source
    settings = msgspec.to_builtins(pictures) if pictures is not None else {}
    try:
        _check(ask("capture.start", StreamChanged, stream=stream, source=source, **settings))
    except MeshError:
        with contextlib.suppress(MeshError):
            _put_back(stream, entry)
        raise
    return stream


def _put_back(stream: str, entry: StreamEntry | None) -> None:
    """A source that cannot be opened is not left behind."""
    if entry is None:
        ask("capture.stop", StreamChanged, stream=stream)
    elif not entry.spec.source_secret:
        ask("capture.start", StreamChanged, **msgspec.to_builtins(entry.spec))
    else:  # it went with the source that it belonged to
        say(logging.WARNING, "%s keeps the new source: the credentials of the one before are not known here", stream)


def _find(index: int, *, given: bool) -> KnownCamera | None:
    try:
        return camera_at(index)
    except NotFound:
        if given:
            return None
        raise


def _check(changed: StreamChanged) -> None:
    error = changed.actual.error if changed.actual else None
    if error is not None:
        found: MeshError = error_from_code(error.code, error.message)
        raise found
