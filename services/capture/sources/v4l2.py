"""v4l2:///dev/video0 : a camera of this machine."""

import threading
from urllib.parse import urlsplit

import av

from schemas.errors import Unavailable
from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.container import ContainerPlayer
from shared.netguard import Policy, check, explain_av_error


class V4l2Source:
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        self._spec = spec
        self._url = url
        self._settings = settings

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        check(self._url, Policy(schemes=frozenset(("v4l2",)), allow_private=False, file_roots=()), field="source")
        options = {}
        if self._spec.size:
            options["video_size"] = self._spec.size
        if self._spec.fps:
            options["framerate"] = f"{self._spec.fps:g}"
        timeout = (self._settings.open_timeout_seconds, self._settings.read_timeout_seconds)
        try:
            container = av.open(urlsplit(self._url).path, "r", format="v4l2", options=options, timeout=timeout)
        except av.FFmpegError as error:
            raise explain_av_error(error, self._spec.source) from None
        with container:
            player = ContainerPlayer(container, self._spec, self._spec.source, paced=False)
            player.announce(sink)
            player.play(sink, stop)
        if not stop.is_set():
            raise Unavailable(f"source {self._spec.source}: the camera stopped sending")
