"""Folders that may be played from and recorded to: whoever writes a path into mesh.yaml or the command line allows it.

They are remembered in the data folder, because the streams and outputs are too: the next `up`, given no file at
all, goes on with them.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from schemas.errors import BadRequest, Unavailable
from schemas.mesh_file import MeshPlan
from shared.whole_file import write_whole

_FILE = "allowed-folders.json"
_MAX_FOLDERS = 256  # of each kind; the oldest go first


class AllowedFolders(Struct, frozen=True, kw_only=True):
    """In the order in which they were first named."""

    sources: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()


def allow(data_dir: Path, plan: MeshPlan) -> AllowedFolders:
    """What earlier starts with this data folder have allowed, and what `plan` names.

    Raises:
        BadRequest: the record of earlier starts is not readable.
        Unavailable: it cannot be written.
    """
    path = data_dir / _FILE
    try:
        before = msgspec.json.decode(path.read_bytes(), type=AllowedFolders)
    except FileNotFoundError:
        before = AllowedFolders()
    except (OSError, msgspec.DecodeError) as error:
        raise BadRequest(f"{path}: {error}; repair or remove it") from None
    now = AllowedFolders(
        sources=_united(before.sources, _source_folders(plan)),
        recordings=_united(before.recordings, _recording_folders(plan)),
    )
    if now != before:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            write_whole(path, msgspec.json.encode(now))
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}; set FRAMEMESH_DATA_DIR") from None
    return now


def media_folder(data_dir: Path) -> Path:
    """Where recordings lie that name no folder, and clips are looked for; made when missing.

    Raises:
        Unavailable: it cannot be made.
    """
    folder = data_dir / "media"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise Unavailable(f"folder {folder}: {error.strerror}; set FRAMEMESH_DATA_DIR") from None
    return folder


def _united(before: tuple[str, ...], named: list[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *map(str, named))))[-_MAX_FOLDERS:]


def _source_folders(plan: MeshPlan) -> list[Path]:
    sources = [stream.source for stream in plan.streams]
    for mix in plan.mixes:
        sources += [one.source for one in mix.inputs] + [logo.source for logo in mix.logos]
    return [Path(unquote(urlsplit(source).path)).parent for source in sources if source.startswith("file:///")]


def _recording_folders(plan: MeshPlan) -> list[Path]:
    """Of absolute recording paths, up to the first part with a placeholder."""
    folders = []
    for output in plan.outputs:
        if output.to.startswith("file:///"):
            literal = unquote(urlsplit(output.to).path).split("{", 1)[0]
            folders.append(Path(literal).parent if not literal.endswith("/") else Path(literal))
    return folders
