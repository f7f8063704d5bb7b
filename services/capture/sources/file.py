"""file:///clip.mp4 : played at its own speed, again from the start at its end unless `loop` is false."""

import threading
from typing import TYPE_CHECKING

from services.capture.sink import StreamSink
from services.capture.sources.container import ContainerPlayer
from services.capture.sources.container_source import ContainerSource
from shared.netguard import Policy, check, open_input

if TYPE_CHECKING:
    from av.container import InputContainer


class FileSource(ContainerSource):
    def probe(self) -> None:
        """Open the file as `run` would, and close it.

        Raises:
            MeshError: why it cannot be played.
        """
        with self._open() as container:
            ContainerPlayer(container, self.spec, self.spec.source, paced=True)

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        with self._open() as container:
            player = ContainerPlayer(container, self.spec, self.spec.source, paced=True)
            player.announce(sink)
            while True:
                player.play(sink, stop)
                if stop.is_set() or not self.spec.loop:
                    return
                player.rewind()

    def _open(self) -> "InputContainer":
        policy = Policy(schemes=frozenset(("file",)), allow_private=False, file_roots=self.settings.file_roots)
        return open_input(check(self.url, policy, field="source"))
