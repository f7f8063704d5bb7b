"""v4l2:///dev/video0 : a camera of this machine."""

import threading
from urllib.parse import urlsplit

import av

from schemas.errors import Unavailable
from services.capture.sink import StreamSink
from services.capture.sources.base import Source
from services.capture.sources.container import ContainerPlayer
from shared.netguard import Policy, check, explain_av_error


class V4l2Source(Source):
    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        check(self.url, Policy(schemes=frozenset(("v4l2",)), allow_private=False, file_roots=()), field="source")
        options = {}
        if self.spec.size:
            options["video_size"] = self.spec.size
        if self.spec.fps:
            options["framerate"] = f"{self.spec.fps:g}"
        timeout = (self.settings.open_timeout_seconds, self.settings.read_timeout_seconds)
        try:
            container = av.open(urlsplit(self.url).path, "r", format="v4l2", options=options, timeout=timeout)
        except av.FFmpegError as error:
            raise explain_av_error(error, self.spec.source) from None
        with container:
            player = ContainerPlayer(container, self.spec, self.spec.source, paced=False)
            player.announce(sink)
            player.play(sink, stop)
        if not stop.is_set():
            raise Unavailable(f"source {self.spec.source}: the camera stopped sending")
