"""A camera's configuration file: picture settings as JSON, and which camera they are for."""

import errno
import os
import stat
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.errors import BadRequest, InvalidValue
from schemas.pictures import PictureSettings, check_pictures
from schemas.resources import StreamSpec
from shared.clients.smartvision.inventory import KnownCamera, camera_called

_MAX_BYTES: Final = 1 << 20  # a profile of 256 controls is 20 kB


class Profile(Struct, frozen=True, kw_only=True):
    """What a configuration file says."""

    pictures: PictureSettings
    source: str | None = None
    """Of a camera that does not exist yet, or shall have another source: as `source` of capture.start."""
    cam_id: int | str | None = None
    """Index or name of the camera; None: the first."""

    def index(self) -> int:
        """Index of the camera that is meant.

        Raises:
            NotFound: there is none of that name.
        """
        if isinstance(self.cam_id, str):
            return camera_called(self.cam_id).index
        return self.cam_id or 0


class DeviceParam:
    """Which configuration file a camera is opened with."""

    def __init__(self) -> None:
        self.cfg_name = ""
        """Path of the file."""

    def set_cfgname(self, config_file: str) -> None:
        """Name the file: a JSON object of picture settings (`{"size": "1280x720", "fps": 30, "controls": {…}}`), and
        where wanted `source` and `cam_id` (index or name). It is read when the camera is opened."""
        self.cfg_name = config_file


def read_profile(path: str, *, validation: bool = True) -> Profile:
    """Read a configuration file. `validation`: judge its values here, before a camera is asked.

    Raises:
        InvalidValue, BadRequest: names the file and the key.
    """
    try:
        with open(os.fspath(path), "rb", opener=_open_file) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidValue("configuration file", path, error.strerror or "cannot be read") from None
    if len(data) > _MAX_BYTES:
        raise InvalidValue("configuration file", path, f"give at most {_MAX_BYTES} bytes")
    try:
        keys = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f'{path}: not JSON: {error}; write an object, for example {{"fps": 30}}') from None
    source, cam_id = keys.pop("source", None), keys.pop("cam_id", None)
    try:
        pictures = msgspec.convert(keys, PictureSettings)
        profile = msgspec.convert({"pictures": pictures, "source": source, "cam_id": cam_id}, Profile)
    except msgspec.ValidationError as error:
        known = ", ".join((*PictureSettings.__struct_fields__, "source", "cam_id"))
        raise BadRequest(f"{path}: {str(error).replace('`$.', '`')}; there are {known}") from None
    if validation:
        check_pictures(pictures)
    return profile


def _open_file(path: str, flags: int) -> int:
    """Never waits, as opening a pipe without a writer would for ever.

    Raises:
        OSError: not a file.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file")
    return descriptor


def pictures_of(spec: StreamSpec) -> PictureSettings:
    """The picture settings of a stream."""
    settings: dict[str, Any] = {name: getattr(spec, name) for name in PictureSettings.__struct_fields__}
    return PictureSettings(**settings)


def profile_text(camera: KnownCamera, pictures: PictureSettings, *, complete: bool) -> str:
    """A configuration file for a camera as it is; `complete`: with the settings that have their default, too."""
    if complete:
        keys: dict[str, Any] = {name: getattr(pictures, name) for name in PictureSettings.__struct_fields__}
    else:
        keys = msgspec.to_builtins(pictures)
    source = camera.entry.spec.source if camera.entry else camera.device.source if camera.device else None
    return msgspec.json.encode({**keys, "source": source, "cam_id": camera.index}).decode()
