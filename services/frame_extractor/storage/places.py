"""Where videos come from and pictures go: the one door to folders, object stores and the network."""

import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

from schemas.errors import InvalidValue, MeshError
from schemas.still_format import MEDIA_TYPES
from schemas.stills import StillFormat
from services.frame_extractor.storage.accounts import bucket_folders, s3_account, tos_account
from services.frame_extractor.storage.attempts import attempt
from services.frame_extractor.storage.counts import StorageCounts
from services.frame_extractor.storage.errors import StorageError, download_error
from services.frame_extractor.storage.fetch import FetchLimits
from services.frame_extractor.storage.folders import open_file, settle, write_file, write_first
from services.frame_extractor.storage.objects import ObjectStore
from services.frame_extractor.storage.parts import MakeExcerpt
from services.frame_extractor.storage.place import Place, is_place, parse_place
from services.frame_extractor.storage.settings import StorageSettings
from services.frame_extractor.storage.spool import Spool
from services.frame_extractor.storage.template import parse_template
from services.frame_extractor.storage.uploads import OnWritten, Uploads
from services.frame_extractor.storage.videos import OpenedVideo, open_local, open_remote
from services.frame_extractor.storage.writer import Writer, no_such_account
from shared.netguard import Policy, check, check_form

log = logging.getLogger(__name__)

_FIELD: Final = "video"
_WEB: Final = frozenset(("http", "https"))
_READING_SECONDS: Final = 86_400.0  # that a job may read an object in ranges; longer ones are given up long before
_NEVER: Final = threading.Event()


class Places:
    """Built once per process from settings; any thread may use it, many at once. Every method may block."""

    def __init__(self, settings: StorageSettings, environ: Mapping[str, str] | None = None) -> None:
        """Raises:
        InvalidValue, NotFound: an endpoint, a bucket's folder or the file of a secret is wrong; names it.
        """
        self._settings = settings
        environ = os.environ if environ is None else environ
        self._accounts = {"s3": s3_account(settings, environ), "tos": tos_account(settings, environ)}
        self._bucket_folders = bucket_folders(settings)
        self._stores: dict[str, ObjectStore] = {}
        self.counts = StorageCounts()
        """Of all that was done through this."""
        self._web = Policy(
            schemes=_WEB,
            allow_private=settings.allow_private,
            private_setting="FRAMEMESH_FRAME_EXTRACTOR_ALLOW_PRIVATE=true",
            playlist_bytes=settings.video_bytes,
        )
        # An object's link leads to where the operator said, which may be inside; what the object says may not.
        self._store_policy = Policy(schemes=_WEB, allow_private=True, playlists=False)
        self.spool = Spool(settings.data_dir / "frame-extractor" / "fetched", settings.fetch_bytes)
        with suppress(StorageError):  # what cannot be cleaned up fails where it is needed, and is told there
            if removed := self.spool.sweep():
                log.info("removed %s fetched videos that a killed process left", removed)

    @cached_property
    def _limits(self) -> FetchLimits:
        settings = self._settings
        return FetchLimits(
            video_bytes=settings.video_bytes,
            seconds=settings.fetch_seconds,
            bytes_per_second=settings.fetch_bytes_per_second,
            network_seconds=settings.network_timeout_seconds,
        )

    def check_video(self, url: str) -> None:
        """What can be said of a video's address without asking anyone.

        Raises:
            StorageError: url; names the value and the fix.
        """
        try:
            if is_place(url):
                parse_place(url, _FIELD)
            else:
                check_form(url, self._web, _FIELD)
        except InvalidValue as error:
            raise StorageError("url", _also_places(error, url)) from None

    def open_video(
        self,
        url: str,
        *,
        sparse: bool = False,
        excerpt: MakeExcerpt | None = None,
        stop: threading.Event | None = None,
    ) -> OpenedVideo:
        """A video at hand, to be closed; blocks while it is fetched, ends within 0.3 s of `stop`.

        With `sparse` little of it is needed, so that it is read in ranges where it can be; `excerpt` makes a video of
        what is. Not within another `interruptible` block of the same thread.

        Raises:
            StorageError: url, download, timeout, video, format; storage where an object store refuses us.
        """
        self.check_video(url)
        stop = stop or _NEVER
        if is_place(url):
            place = parse_place(url, _FIELD)
            root = self._folder(place)
            if place.scheme == "file":
                return self._sized(open_local(self._settings.video_folders, place.key, url))
            if root is not None:
                return self._sized(open_local((root,), place.key, url))
            return self._open_object(place, url, sparse, excerpt, stop)
        try:
            guarded = check(url, self._web, _FIELD, self._settings.network_timeout_seconds)
        except MeshError as error:
            raise download_error(error) from None
        return open_remote(guarded, self._limits, self.spool, stop, sparse=sparse, excerpt=excerpt, counts=self.counts)

    def check_template(self, template: str, file_format: StillFormat = "jpg") -> None:
        """What can be said of where pictures shall go without asking anyone.

        Raises:
            InvalidValue: names the value and the fix.
            StorageError: storage; there is no account for it, or no root above it.
        """
        place = parse_template(template, file_format).place(0)
        if self._folder(place) is not None:
            self._root_of(place)
        else:
            self._store(place)

    def writer(self, template: str, file_format: StillFormat = "jpg", stop: threading.Event | None = None) -> Writer:
        """Of the pictures of one job. `stop` ends what is tried again.

        Raises:
            InvalidValue: of the template.
        """
        parsed = parse_template(template, file_format)
        return Writer(parsed, self.put, self._settle, self._settings.storage_seconds, stop, self.counts)

    def uploads(self, writer: Writer, on_written: OnWritten | None = None) -> Uploads:
        """Writes behind the decoder's back, bounded; see there."""
        return Uploads(writer, self._settings.upload_threads, self._settings.upload_bytes, on_written)

    def put(self, place: Place, data: bytes, file_format: StillFormat) -> None:
        """Write one picture, whole, over what is there; one attempt.

        Raises:
            StorageError: storage; says whether it may pass.
        """
        if self._folder(place) is not None:
            root, relative = self._root_of(place)
            write_file(root, relative, data)
        else:
            self._store(place).put(place.bucket, place.key, data, MEDIA_TYPES[file_format])

    def claim(self, path: str, mark: bytes) -> bytes:
        """Whose `path` is among those who write a mark of theirs there: `mark`, or that of who was first. Blocks.

        Raises:
            StorageError: storage; says whether it may pass.
        """
        place = self._parsed(path)
        with suppress(StorageError):  # most likely nobody's; what else is wrong is told by the writing
            return self.read_picture(path, len(mark))
        if self._folder(place) is not None:
            written = write_first(*self._root_of(place), mark)
        else:
            written = self._store(place).put_first(place.bucket, place.key, mark)
        return mark if written else self.read_picture(path, len(mark))

    def check_place(self, place: Place) -> None:
        """What can be said of where a picture shall go without asking anyone.

        Raises:
            StorageError: storage; there is no account for it, or no root above it.
        """
        if self.local(place) is None:
            self._store(place)

    def local(self, place: Place) -> tuple[Path, str] | None:
        """The root and the path below it, of what lies in a folder of this machine.

        Raises:
            StorageError: storage; there is no root above it.
        """
        return self._root_of(place) if self._folder(place) is not None else None

    def open_picture(self, path: str) -> BinaryIO:
        """A picture that lies in a folder of this machine, to be read; of one in a store take its `link`.

        Raises:
            StorageError: storage; not there, or in no folder.
        """
        place = self._parsed(path)
        if self._folder(place) is None:
            raise StorageError("storage", f"{path}: lies in an object store, not in a folder")
        root, relative = self._root_of(place)
        return open_file(root, relative)

    def read_picture(self, path: str, most_bytes: int) -> bytes:
        """A picture, wherever it lies. Blocks.

        Raises:
            StorageError: storage; it is not there, or has more than `most_bytes`.
        """
        place = self._parsed(path)
        if self._folder(place) is None:
            return self._store(place).get(place.bucket, place.key, most_bytes)
        try:
            with self.open_picture(path) as file:
                data = file.read(most_bytes + 1)
        except OSError as error:
            raise StorageError("storage", f"{path}: {error.strerror}", may_pass=True) from None
        if len(data) > most_bytes:
            raise StorageError("storage", f"{path}: has more than {most_bytes} bytes")
        return data

    def link(self, path: str, seconds: float) -> str | None:
        """A URL of the object store that whoever has it may read the picture with, for so long; asks nobody.

        None for a picture in a folder. Secret until it is given to who may see the picture.

        Raises:
            StorageError: storage.
        """
        place = self._parsed(path)
        if self._folder(place) is not None:
            return None
        return self._store(place).link(place.bucket, place.key, seconds)

    def _open_object(
        self, place: Place, url: str, sparse: bool, excerpt: MakeExcerpt | None, stop: threading.Event
    ) -> OpenedVideo:
        store = self._store(place)
        tried_seconds = self._settings.storage_seconds
        size_bytes = attempt(lambda: store.size_bytes(place.bucket, place.key), tried_seconds, stop, self._count_retry)
        self._limits.check_size(size_bytes, url)
        link = store.link(place.bucket, place.key, _READING_SECONDS)
        try:
            guarded = check(link, self._store_policy, _FIELD, self._settings.network_timeout_seconds)
        except MeshError as error:
            raise StorageError("storage", f"{url}: {error.message}", may_pass=True) from None
        # The link is a secret, and what people know the video by is its own address.
        known = replace(guarded, shown=url)
        return attempt(
            lambda: open_remote(
                known, self._limits, self.spool, stop, sparse=sparse, excerpt=excerpt, counts=self.counts
            ),
            tried_seconds,
            stop,
            self._count_retry,
        )

    def _count_retry(self) -> None:
        self.counts.note(retries=1)

    def _sized(self, video: OpenedVideo) -> OpenedVideo:
        self._limits.check_size(video.size_bytes, video.url.shown)
        return video

    def _parsed(self, path: str) -> Place:
        try:
            return parse_place(path, "path")
        except InvalidValue as error:
            raise StorageError("storage", error.message) from None

    def _folder(self, place: Place) -> Path | None:
        """The folder that stands for its bucket, or any root of file://; None for an object store."""
        if place.scheme == "file":
            return self._settings.picture_folders[0]
        if place.bucket in self._bucket_folders:
            return self._bucket_folders[place.bucket]
        if place.scheme == "tos" and self._accounts["tos"] is None:
            return self._settings.data_dir / "tos" / place.bucket
        return None

    def _root_of(self, place: Place) -> tuple[Path, str]:
        folder = self._folder(place)
        assert folder is not None
        if place.scheme != "file" or not place.key.startswith("/"):
            return folder, place.key
        path = Path(place.key)
        for root in self._settings.picture_folders:
            # Both as they are written and where the root is a link: people copy paths from either.
            for spelled in (root.absolute(), root.resolve()):
                if path != spelled and path.is_relative_to(spelled):
                    return root, str(path.relative_to(spelled))
        roots = ", ".join(map(str, self._settings.picture_folders))
        more = "more are set with FRAMEMESH_FRAME_EXTRACTOR_PICTURE_ROOTS"
        raise StorageError("storage", f"{place.key}: pictures must lie under: {roots}; {more}")

    def _settle(self, place: Place) -> None:
        if self._folder(place) is not None:
            settle(self._root_of(place)[0])

    def _store(self, place: Place) -> ObjectStore:
        account = self._accounts[place.scheme]
        if account is None:
            raise no_such_account(place.scheme)
        store = self._stores.get(place.scheme)
        if store is None:
            settings = self._settings
            store = ObjectStore(account, settings.network_timeout_seconds, settings.storage_seconds)
            store = self._stores.setdefault(place.scheme, store)  # two threads make two, and keep one
        return store


def _also_places(error: InvalidValue, url: str) -> str:
    if "://" in url and url.partition("://")[0] in _WEB:
        return error.message
    return f"{error.message}, and s3://, tos:// and file://" if not is_place(url) else error.message
