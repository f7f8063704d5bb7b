"""Where the pictures of many videos go: one place, and in it a folder for each video."""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from schemas.errors import InvalidValue
from schemas.still_format import StillFormat
from services.frame_extractor.storage import StorageError, parse_place

log = logging.getLogger(__name__)

_FIELD = "output_tos_dir"
_DIGEST_BYTES = 6  # of 16 million videos two have the same once in two
_LONGEST_NAME_BYTES = 200  # of the 255 of a file system, with room for a digest
_MOST_NAMES = 65_536  # that are remembered; beyond that the oldest are forgotten
_NO_NAME = ("", ".", "..")
_MARK = ".video"  # in a video's folder: a digest of its path, for workers who know nothing of each other

# Of a path and our mark: the mark that lies there now, ours or that of who was first.
Claim = Callable[[str, bytes], bytes]


class Destination:
    """Any thread may use it."""

    def __init__(self, folder: object) -> None:
        """Args:
        folder: `tos://bucket/folder`, `s3://…`, `file:///…`, or an absolute path.

        Raises:
            InvalidValue: names the argument, its value and the fix.
        """
        if not isinstance(folder, str) or not ("://" in folder or folder.startswith("/")):
            raise InvalidValue(_FIELD, folder, "use tos://bucket/folder, s3://bucket/folder or an absolute path")
        folder = folder.rstrip("/")
        if "://" not in folder:
            folder = "file://" + quote(folder)
        place = parse_place(f"{folder}/video/frame", _FIELD)
        if "{" in folder or "}" in folder:
            raise InvalidValue(_FIELD, folder, "leave out braces")
        self._folder = folder
        self._escaped = place.scheme == "file"
        self.roots = (Path(unquote(urlsplit(folder).path)),) if folder.startswith("file:///") else ()
        """Of a folder of this machine: itself."""
        self._taken: OrderedDict[str, bytes] = OrderedDict()
        self._unmarked = False
        self._lock = threading.Lock()

    def template(self, path: str | None, binary: bytes | None, file_format: StillFormat, claim: Claim) -> str:
        """Of the pictures of one video: `<folder>/<name up to its first dot>/frame_0000.jpg` and so on. Blocks.

        A binary has no name: its folder is called by its content. Of several videos of one name the first one's mark
        is in the folder, and the second and later have a digest of their path in the name of theirs.
        """
        digest = hashlib.blake2b(path.encode() if path else binary or b"", digest_size=_DIGEST_BYTES)
        name = _name(path) if path else ""
        if name in _NO_NAME or len(name.encode()) > _LONGEST_NAME_BYTES:
            name = f"video-{digest.hexdigest()}"
        elif not self._is_owner(name, digest.hexdigest().encode(), claim):
            log.warning("%s: another video is called %s too; its pictures go to a folder of their own", _FIELD, name)
            name = f"{name}-{digest.hexdigest()}"
        return f"{self._path(name)}/frame_{{index:04d}}.{file_format}"

    def _path(self, name: str) -> str:
        return f"{self._folder}/{quote(name) if self._escaped else name}"

    def _is_owner(self, name: str, mark: bytes, claim: Claim) -> bool:
        with self._lock:
            owner = self._taken.get(name)
        if owner is None:
            try:
                owner = claim(f"{self._path(name)}/{_MARK}", mark)
            except StorageError as error:
                # Who may write pictures need not be allowed to read: then it holds in this process only.
                owner = mark
                if not self._unmarked:
                    self._unmarked = True
                    log.warning("%s: videos of one name may share a folder: %s", _FIELD, error.message)
        with self._lock:
            owner = self._taken.setdefault(name, owner)
            if len(self._taken) > _MOST_NAMES:
                self._taken.popitem(last=False)
            return owner == mark


def _name(path: str) -> str:
    """Of a file, without what comes after its first dot, and without what a key or a template makes more of."""
    # What is behind the question mark of an address may be a secret.
    whole = urlsplit(path).path if path.startswith(("http://", "https://")) else path
    name = whole.rstrip("/").rpartition("/")[2].partition(".")[0]
    return "".join("_" if letter in "{}\\" or not letter.isprintable() else letter for letter in name)
