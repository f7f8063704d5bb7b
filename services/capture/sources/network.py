"""rtsp:// rtmp:// http(s):// udp:// : a live source on the network, pulled by libav."""

import threading
from urllib.parse import urlsplit

from schemas.errors import Unavailable
from services.capture.sink import StreamSink
from services.capture.sources.base import Source
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


class NetworkSource(Source):
    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        settings = self.settings
        guarded = check(self.url, Policy(schemes=SCHEMES, allow_private=True, file_roots=()), field="source")
        scheme = urlsplit(self.url).scheme.lower()
        timeouts = Timeouts(settings.open_timeout_seconds, settings.read_timeout_seconds)
        with open_input(guarded, options=_OPTIONS.get(scheme, {}), timeouts=timeouts) as container:
            player = ContainerPlayer(container, self.spec, self.spec.source, paced=scheme in _PACED)
            player.announce(sink)
            player.play(sink, stop)
        if not stop.is_set():
            raise Unavailable(f"source {self.spec.source}: the sender ended the stream")
