"""Profiles: a camera's picture settings in a JSON file, `{"size": "1280x720", "controls": {"brightness": 10}}`."""

from pathlib import Path

import msgspec

from schemas.errors import BadRequest, NotFound
from schemas.pictures import PictureSettings, check_pictures
from shared.explain import explain_decode_error

_MAX_BYTES = 1 << 20  # 256 controls and 32 masks are some kilobytes


def load_profile(path: Path) -> PictureSettings:
    """The settings in the file.

    Raises:
        NotFound: there is no such file, or it cannot be read.
        BadRequest: names the file, and the line or the key.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadRequest(f"{path}: larger than {_MAX_BYTES} bytes; this is no profile")
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    try:
        profile = msgspec.json.decode(data, type=PictureSettings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{path}: {explain_decode_error(error, PictureSettings, data)}") from None
    try:
        check_pictures(profile)
    except BadRequest as error:
        raise BadRequest(f"{path}: {error.message}") from None
    return profile


def profile_text(settings: PictureSettings) -> str:
    """Picture settings as such a file, without what has its default."""
    names = PictureSettings.__struct_fields__
    profile = PictureSettings(**{name: getattr(settings, name) for name in names})
    return msgspec.json.format(msgspec.json.encode(profile), indent=2).decode() + "\n"
