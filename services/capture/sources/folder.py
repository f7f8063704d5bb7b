"""file:///folder : the media files of a folder, in the order of their names, as one stream."""

import logging
import os
import threading
import time
from pathlib import Path
from urllib.parse import quote

from schemas.errors import InvalidValue, MeshError, NotFound
from schemas.resources import StreamSpec
from services.capture.sink import StreamSink
from services.capture.sources.container import ContainerPlayer, Timeline
from shared.media.pacing import Pacer
from shared.netguard import GuardedUrl, check, open_input

log = logging.getLogger(__name__)

_MAX_FILES = 10_000  # more in one folder is a mistake, and would be listed at every round
# Files without any duration, such as pictures, must not be opened thousands of times a second.
_MIN_FILE_SECONDS = 0.04


class FolderPlayer:
    """Plays a folder round by round, without a step in time between two files.

    What is added is found in the next round. Bad files are left out, logged and counted.
    """

    def __init__(self, guarded: GuardedUrl, spec: StreamSpec) -> None:
        """`guarded`: a checked file:// URL of a folder."""
        self._guarded, self._spec = guarded, spec
        self._timeline, self._pacer = Timeline(), Pacer()
        self._announced: object = None
        self._bad: set[tuple[str, int]] = set()

    def round(self, sink: StreamSink, stop: threading.Event) -> None:
        """Play every file once.

        Raises:
            NotFound: none of them can be played.
        """
        played = False
        for path in self._files():
            began = time.monotonic()
            played |= self._play(path, sink, stop)
            if stop.wait(max(0.0, began + _MIN_FILE_SECONDS - time.monotonic())):
                return
        if not played:
            raise NotFound(f"source {self._spec.source}: there is no file in this folder that can be played")

    def _files(self) -> list[Path]:
        assert self._guarded.file is not None
        try:
            with os.scandir(self._guarded.file) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
        except OSError as error:
            raise NotFound(f"source {self._spec.source}: the folder cannot be read ({error.strerror})") from None
        if len(names) > _MAX_FILES:
            log.warning("%s: only the first %d of %d files", self._spec.source, _MAX_FILES, len(names))
        return [self._guarded.file / name for name in names[:_MAX_FILES]]

    def _play(self, path: Path, sink: StreamSink, stop: threading.Event) -> bool:
        """Play one file; False when it cannot be opened."""
        try:
            # Through the gate again: a link may lead out of the folders that are allowed.
            guarded = check("file://" + quote(str(path)), self._guarded.policy, field="source")
            container = open_input(guarded)
        except MeshError as error:
            self._leave_out(path, error, sink)
            return False
        with container:
            try:
                player = ContainerPlayer(
                    container, self._spec, path.name, paced=True, timeline=self._timeline, pacer=self._pacer
                )
                shown = player.what()
                if shown != self._announced:
                    if self._announced is not None:
                        sink.lost()  # other pictures: those who take packets begin again at a key picture
                    player.announce(sink)
                    self._announced = shown
                player.play(sink, stop)
            except InvalidValue:  # what is asked of the pictures, not the file
                raise
            except MeshError as error:
                self._leave_out(path, error, sink)
                return False
            finally:
                self._timeline.restart()
        return True

    def _leave_out(self, path: Path, error: Exception, sink: StreamSink) -> None:
        sink.dropped["bad-file"] += 1
        try:
            version = (path.name, path.stat().st_mtime_ns)
        except OSError:  # it has been taken away
            return
        if version not in self._bad and len(self._bad) < _MAX_FILES:
            self._bad.add(version)
            log.warning("%s left out: %s", path.name, error, extra={"stream": self._spec.stream})
