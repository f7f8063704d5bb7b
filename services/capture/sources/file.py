"""file:///clip.mp4 : played at its own speed, again from the start at its end unless `loop` is false."""

import threading

from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.container import ContainerPlayer
from shared.netguard import Policy, check, open_input


class FileSource:
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        self._spec = spec
        self._url = url
        self._settings = settings

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        policy = Policy(schemes=frozenset(("file",)), allow_private=False, file_roots=self._settings.file_roots)
        guarded = check(self._url, policy, field="source")
        with open_input(guarded) as container:
            player = ContainerPlayer(container, self._spec, self._spec.source, paced=True)
            player.announce(sink)
            while True:
                player.play(sink, stop)
                if stop.is_set() or not self._spec.loop:
                    return
                player.rewind()
