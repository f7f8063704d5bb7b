"""Whether the disk has room for another file of an output."""

import os

from schemas.errors import NotFound, OutOfSpace
from schemas.resources import OutputSpec
from schemas.units import parse_bytes
from services.publisher.file_names import own_folder
from services.publisher.outputs.base import OutputSettings


def check_room(spec: OutputSpec, url: str, settings: OutputSettings) -> None:
    """Refuse to begin a file on a disk that is as good as full: it would be littered at every attempt; blocks.

    Raises:
        InvalidValue: the template is wrong, or leads outside the roots.
        NotFound: the root does not exist.
        OutOfSpace: names the bytes needed, those free, and the setting.
    """
    needed_bytes = settings.min_free_bytes
    if spec.keep_free:  # who says how much is to stay free does not want to wait for more
        needed_bytes = min(needed_bytes, parse_bytes(spec.keep_free, "keep_free"))
    folder = own_folder(spec, url, settings.file_roots)
    while not folder.is_dir() and folder not in settings.file_roots:  # made with its first file
        folder = folder.parent
    try:
        status = os.statvfs(folder)
    except OSError:
        raise NotFound(f"folder for recordings {folder} does not exist; create or mount it") from None
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < needed_bytes:
        fix = "delete old recordings, set keep_bytes or keep_free, or lower FRAMEMESH_PUBLISHER_MIN_FREE_BYTES"
        raise OutOfSpace(f"disk of {folder}", needed_bytes, free_bytes, fix)
