"""rtsp:// rtmp:// http(s):// udp:// : a live source on the network, pulled by libav."""

import threading
from urllib.parse import urlsplit

from schemas.errors import Unavailable
from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sink import StreamSink
from services.capture.sources.container import PROBING, ContainerPlayer
from shared.netguard import Policy, Timeouts, check, open_input

SCHEMES = frozenset(("rtsp", "rtsps", "rtmp", "http", "https", "udp"))

# No reordering queue: a picture must not wait inside the demuxer.
_OPTIONS: dict[str, dict[str, str]] = {
    "rtsp": {**PROBING, "rtsp_transport": "tcp", "max_delay": "100000"},
    "rtsps": {**PROBING, "rtsp_transport": "tcp", "max_delay": "100000"},
    "rtmp": {**PROBING, "rtmp_live": "live"},
    "udp": PROBING,
}
# A file behind http is played at its own speed; a live stream behind http already comes at that speed.
_PACED = ("http", "https")


class NetworkSource:
    def __init__(self, spec: StreamSpec, url: str, settings: CaptureSettings) -> None:
        self._spec = spec
        self._url = url
        self._settings = settings

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        settings = self._settings
        guarded = check(self._url, Policy(schemes=SCHEMES, allow_private=True, file_roots=()), field="source")
        scheme = urlsplit(self._url).scheme.lower()
        timeouts = Timeouts(settings.open_timeout_seconds, settings.read_timeout_seconds)
        with open_input(guarded, options=_OPTIONS.get(scheme, {}), timeouts=timeouts) as container:
            player = ContainerPlayer(container, self._spec, self._spec.source, paced=scheme in _PACED)
            player.announce(sink)
            player.play(sink, stop)
        if not stop.is_set():
            raise Unavailable(f"source {self._spec.source}: the sender ended the stream")
