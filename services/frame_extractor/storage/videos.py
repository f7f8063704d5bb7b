"""A video at hand: a local file, one that was fetched, or an address that is read in ranges."""

import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from schemas.errors import MeshError
from services.frame_extractor.storage.counts import StorageCounts
from services.frame_extractor.storage.errors import StorageError, download_error
from services.frame_extractor.storage.fetch import Fetch, FetchLimits
from services.frame_extractor.storage.parts import MakeExcerpt, fetch_excerpt
from services.frame_extractor.storage.spool import NoRoom, Spool, SpoolFile
from shared.netguard import GuardedUrl, HttpReader, Policy, check, interruptible

_PLAYLIST: Final = b"#EXTM3U"
_MP4: Final = b"ftyp"  # after the length of its first box
_HEAD_BYTES: Final = 8
_FIELD: Final = "video"


class OpenedVideo:
    """A video that can be opened as often as needed until it is closed; use it as a context.

    `url` goes to `shared.netguard.open_input`, which keeps what the video says from leading elsewhere, also where it
    is a local file. `size_bytes` is None where nobody knows.
    """

    def __init__(
        self, url: GuardedUrl, size_bytes: int | None, spooled: SpoolFile | None = None, *, excerpt: bool = False
    ) -> None:
        self.url = url
        self.size_bytes = size_bytes
        self.excerpt = excerpt
        """Only what was asked for is in it."""
        self.fetched = spooled is not None
        self._spooled = spooled

    @property
    def path(self) -> Path | None:
        """Of the file on this machine; None where it is read from the network."""
        return self.url.file

    def close(self) -> None:
        """Take what was fetched off the disk."""
        if self._spooled is not None:
            self._spooled.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_local(roots: tuple[Path, ...], path: str, shown: str) -> OpenedVideo:
    """A file below one of `roots`; links are followed where they stay below.

    Raises:
        StorageError: url where it may not be read, download where it is not there.
    """
    policy = Policy(schemes=frozenset(("file",)), file_roots=roots)
    address = f"file://{quote(path)}"
    try:
        guarded = check(address, policy, _FIELD)
    except MeshError as error:
        told = download_error(error)
        # A bucket that is a folder is called what its user calls it.
        raise StorageError(told.kind, told.message.replace(address, shown), may_pass=told.may_pass) from None
    assert guarded.file is not None
    return OpenedVideo(replace(guarded, shown=shown), guarded.file.stat().st_size)


def open_remote(
    guarded: GuardedUrl,
    limits: FetchLimits,
    spool: Spool,
    stop: threading.Event,
    *,
    sparse: bool,
    excerpt: MakeExcerpt | None = None,
    counts: StorageCounts | None = None,
) -> OpenedVideo:
    """A video behind a checked http(s) URL.

    Fetched once, since an index and several decoders read most of it twice. Read in ranges where only little of it
    is needed (`sparse`) and it is an MP4, whose index is in one place; where it is longer than all room there is for
    fetched videos, and where there is no room just now. Of others `excerpt` may make a video of what is needed. A
    playlist stays where it is.

    Raises:
        StorageError: url, download, timeout, video (it is too long), format (a playlist where none may be).
    """
    counts = counts or StorageCounts()
    fragmented = False
    if excerpt is not None:
        file, fragmented = fetch_excerpt(guarded, limits, spool, stop, excerpt, counts)
        if file is not None:
            return OpenedVideo(_spooled(guarded, spool, file), file.length_bytes, file, excerpt=True)
    with interruptible(stop):
        try:
            reader = HttpReader(guarded, limits.timeouts)
            head = _head(reader)
        except MeshError as error:
            raise download_error(error) from None
        size_bytes, ranges = reader.size_bytes, reader.seekable()
        try:
            limits.check_size(size_bytes, guarded.shown)
            if head.startswith(_PLAYLIST):
                if not guarded.policy.playlists:
                    raise StorageError("format", f"video {guarded.shown!r}: is a playlist; give the address of a video")
                return OpenedVideo(guarded, None)
            scattered = sparse and not fragmented and head[4:] == _MP4 and (size_bytes or 0) >= limits.sparse_bytes
            if ranges and (scattered or (size_bytes or 0) > spool.budget_bytes):
                return OpenedVideo(guarded, size_bytes)
            patient = replace(limits, room_seconds=0.0) if ranges else limits
            try:
                return _fetched(guarded, reader, head, patient, spool, stop, counts)
            except NoRoom:
                if not ranges:
                    raise
                return OpenedVideo(guarded, size_bytes)
        finally:
            reader.close()


def _head(reader: HttpReader) -> bytes:
    head = b""
    while len(head) < _HEAD_BYTES and (data := reader.read(_HEAD_BYTES - len(head))):
        head += data
    return head


def _fetched(
    guarded: GuardedUrl,
    reader: HttpReader,
    head: bytes,
    limits: FetchLimits,
    spool: Spool,
    stop: threading.Event,
    counts: StorageCounts,
) -> OpenedVideo:
    if (reader.size_bytes or 0) > spool.budget_bytes:
        raise StorageError(
            "video",
            f"video {guarded.shown!r}: has {reader.size_bytes} bytes and its server knows no ranges; of fetched videos"
            f" {spool.budget_bytes} bytes may be kept: raise FRAMEMESH_FRAME_EXTRACTOR_FETCH_BYTES",
        )
    file = spool.create()
    try:
        Fetch(guarded, file, limits, stop, counts).run(reader, head)
    except BaseException:  # nothing stays on the disk, whatever it was
        file.remove()
        raise
    return OpenedVideo(_spooled(guarded, spool, file), file.length_bytes, file)


def _spooled(guarded: GuardedUrl, spool: Spool, file: SpoolFile) -> GuardedUrl:
    """A video in the spool, known by the address that it came from."""
    return GuardedUrl(
        url=file.path.as_uri(),
        shown=guarded.shown,
        scheme="file",
        policy=Policy(schemes=frozenset(("file",)), file_roots=(spool.folder,)),
        field_name=_FIELD,
        path=str(file.path),
        file=file.path,
    )
