"""file:///clip.mp4 or file:///folder : played at its own speed, again from the start unless `loop` is false."""

import threading

from services.capture.sink import StreamSink
from services.capture.sources.container import ContainerPlayer
from services.capture.sources.container_source import ContainerSource
from services.capture.sources.folder import FolderPlayer
from shared.netguard import GuardedUrl, Policy, check, open_input


class FileSource(ContainerSource):
    def probe(self) -> None:
        """Open the file as `run` would, and close it.

        Raises:
            MeshError: why it cannot be played.
        """
        guarded = self._guarded()
        if not _is_folder(guarded):  # in a folder, bad files are left out
            with open_input(guarded) as container:
                ContainerPlayer(container, self.spec, self.spec.source, paced=True)

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        guarded = self._guarded()
        if _is_folder(guarded):
            self._play_folder(guarded, sink, stop)
            return
        with open_input(guarded) as container:
            player = ContainerPlayer(container, self.spec, self.spec.source, paced=True)
            player.announce(sink)
            while True:
                player.play(sink, stop)
                if stop.is_set() or not self.spec.loop:
                    return
                player.rewind()

    def _play_folder(self, guarded: GuardedUrl, sink: StreamSink, stop: threading.Event) -> None:
        player = FolderPlayer(guarded, self.spec)
        while True:
            player.round(sink, stop)
            if stop.is_set() or not self.spec.loop:
                return

    def _guarded(self) -> GuardedUrl:
        policy = Policy(schemes=frozenset(("file",)), file_roots=self.settings.file_roots, folders=True)
        return check(self.url, policy, field="source")


def _is_folder(guarded: GuardedUrl) -> bool:
    return guarded.file is not None and guarded.file.is_dir()
