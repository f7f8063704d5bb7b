"""Where a recording goes: a template from outside becomes a file under an allowed root that did not exist before.

Everything here may be hostile: the template is parsed by hand (`str.format` would follow attributes), and each
folder is opened relative to the one before without following links, so no link or `..` leads out of the root.
"""

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

from schemas.errors import InvalidValue, NotFound
from schemas.resources import OutputFormat, OutputSpec
from schemas.units import NS_PER_SECOND
from shared.urls import redact

SUFFIXES: Final[Mapping[OutputFormat, str]] = {"mp4": ".mp4", "ts": ".ts", "mkv": ".mkv", "hls": ".m3u8"}
"""What the names of the kinds of files end in."""
_ENDINGS = ", ".join(SUFFIXES.values())
_FIELD = "to"
_SCHEME = "file://"
# Directives that give digits only, so that no locale and no value brings a separator of its own.
_START_FORMAT = re.compile(r"(?:%[YmdHMSjy]|[A-Za-z0-9 ._/-])+\Z")
_DEFAULT_START_FORMAT = "%Y%m%d-%H%M%S"
_PLACEHOLDER = re.compile(r"\{([a-z]+)(?::([^{}]*))?\}")
# Linux' NAME_MAX is 255 bytes; the rest is for `-99999`.
_MAX_NAME_BYTES = 240
_MAX_FOLDERS = 16
_MAX_NUMBER = 99_999  # recordings that start within one second and were asked to have one name
FILE_MODE: Final = 0o640
_FOLDER_MODE = 0o750


def file_format(spec: OutputSpec, url: str) -> OutputFormat:
    """The kind of file that the name in `url` means, and `format`, where that is given.

    Raises:
        InvalidValue: neither tells, or they disagree.
    """
    named = next((kind for kind, suffix in SUFFIXES.items() if url.endswith(suffix)), None)
    if named is None:
        raise _invalid(url, f"give a file name that ends in {_ENDINGS}")
    if spec.format not in (None, named):
        fix = f"the file name ends in {SUFFIXES[named]}, so leave format out"
        if spec.format in SUFFIXES:
            fix += f", or end the name in {SUFFIXES[spec.format]}"
        raise InvalidValue("format", spec.format, fix)
    return named


def check_template(spec: OutputSpec, url: str, roots: tuple[Path, ...]) -> None:
    """Refuse what can never become a file name.

    Raises:
        InvalidValue: says what is wrong with the template.
    """
    _place(spec, url, roots, start_ns=0)


def create_file(spec: OutputSpec, url: str, roots: tuple[Path, ...], start_ns: int) -> tuple[int, Path]:
    """Make the recording's folders and file; an existing file is never touched: `-1`, `-2`, … is added instead.

    Placeholders: `{stream}`, `{output}`, `{rendition}` and `{start}` (local time of CLOCK_REALTIME `start_ns`), with
    a date format of digits as in `{start:%Y%m%d-%H%M%S}`. Percent signs are not decoded. Returns a descriptor
    open for writing, which the caller closes, and the path.

    Raises:
        InvalidValue: the template is wrong, or leads outside the roots.
        NotFound: the root does not exist.
        OSError: the file system refuses.
    """
    folder_fd, path = open_folder(spec, url, roots, start_ns)
    try:
        return _create(folder_fd, path)
    finally:
        os.close(folder_fd)


def open_folder(spec: OutputSpec, url: str, roots: tuple[Path, ...], start_ns: int) -> tuple[int, Path]:
    """Make the folders only: a descriptor of the last one, which the caller closes, and the path of the file in it.

    Raises:
        InvalidValue: the template is wrong, or leads outside the roots.
        NotFound: the root does not exist.
        OSError: the file system refuses.
    """
    root, folders, name = _place(spec, url, roots, start_ns)
    try:
        folder_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_root(root) from None
    try:
        for folder in folders:
            inner = _enter(folder_fd, folder, url)
            os.close(folder_fd)
            folder_fd = inner
    except BaseException:  # the descriptor is nobody's yet
        os.close(folder_fd)
        raise
    return folder_fd, root.joinpath(*folders, name)


def own_folder(spec: OutputSpec, url: str, roots: tuple[Path, ...]) -> Path:
    """The folder that all files of this output lie below, whatever time they start at.

    Raises:
        InvalidValue: the template is wrong, or leads outside the roots.
    """
    always = url.partition("{start")[0].rpartition("/")[0]
    name = "x" + SUFFIXES[file_format(spec, url)]
    root, folders, _ = _place(spec, f"{always}/{name}" if always != "file:/" else _SCHEME + name, roots, 0)
    return root.joinpath(*folders)


def expand(template: str, spec: OutputSpec, start_ns: int) -> str:
    """The template with its placeholders filled in.

    Raises:
        InvalidValue: an unknown placeholder, a stray brace or a date format with more than digits.
    """

    def fill(match: re.Match[str]) -> str:
        name, date_format = match[1], match[2]
        if name == "start":
            if not _START_FORMAT.match(date_format or _DEFAULT_START_FORMAT):
                raise _invalid(_SCHEME + template, "in {start:…} use %Y %m %d %H %M %S %j %y and plain characters")
            try:
                start = datetime.fromtimestamp(start_ns // NS_PER_SECOND)  # local: the time on the site's clocks
            except (OverflowError, OSError, ValueError):  # a producer without a clock; the name still has to work
                start = datetime.fromtimestamp(0)
            return start.strftime(date_format or _DEFAULT_START_FORMAT)
        values = {"stream": spec.stream, "output": spec.output, "rendition": spec.rendition}
        if name not in values or date_format is not None:
            raise _invalid(_SCHEME + template, "placeholders are {stream} {output} {rendition} {start:%Y%m%d-%H%M%S}")
        return values[name]

    if set(_PLACEHOLDER.sub("", template)) & set("{}"):
        raise _invalid(_SCHEME + template, "placeholders are {stream} {output} {rendition} {start:%Y%m%d-%H%M%S}")
    return _PLACEHOLDER.sub(fill, template)


def _place(spec: OutputSpec, url: str, roots: tuple[Path, ...], start_ns: int) -> tuple[Path, list[str], str]:
    """The root, the folders below it and the file name, as yet untouched."""
    if not url.startswith(_SCHEME):
        raise _invalid(url, "write file://recordings/{stream}/{start:%Y%m%d-%H%M%S}.mp4")
    if not roots:
        raise _invalid(url, "file outputs are off; name a folder in FRAMEMESH_PUBLISHER_FILE_ROOTS")
    text = expand(url.removeprefix(_SCHEME), spec, start_ns)
    path = PurePosixPath(text)
    if any(not character.isprintable() for character in text) or ".." in path.parts:
        raise _invalid(url, "no '..' and no control characters in a path")
    if path.suffix != SUFFIXES[file_format(spec, url)] or text.endswith("/"):  # `.mp4` alone has no suffix
        raise _invalid(url, f"give a file name that ends in {_ENDINGS}")
    root = roots[0]
    if path.is_absolute():
        try:
            root = next(root for root in roots if path.is_relative_to(root))
        except StopIteration:
            allowed = ", ".join(str(root) for root in roots)
            raise _invalid(url, f"recordings may lie in {allowed} only") from None
        path = path.relative_to(root)
    *folders, name = path.parts
    if len(folders) > _MAX_FOLDERS or any(len(part.encode()) > _MAX_NAME_BYTES for part in path.parts):
        raise _invalid(url, f"at most {_MAX_FOLDERS} folders and {_MAX_NAME_BYTES} bytes in a name")
    return root, folders, name


def _no_root(root: Path) -> NotFound:
    return NotFound(f"folder for recordings {root} does not exist; create or mount it")


def _invalid(url: str, fix: str) -> InvalidValue:
    """`to` may be meant for a server, and hold its key."""
    return InvalidValue(_FIELD, redact(url, stream_key=True)[0], fix)


def _enter(folder_fd: int, name: str, url: str) -> int:
    """The folder `name` inside an open one, made when missing."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, _FOLDER_MODE, dir_fd=folder_fd)
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _invalid(url, f"{name!r} is a link or a file; name its target as a file root") from None
        raise


def _create(folder_fd: int, path: Path) -> tuple[int, Path]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for number in range(_MAX_NUMBER + 1):
        candidate = f"{path.stem}-{number}{path.suffix}" if number else path.name
        try:
            return os.open(candidate, flags, FILE_MODE, dir_fd=folder_fd), path.with_name(candidate)
        except FileExistsError:
            continue
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
