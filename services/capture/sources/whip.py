"""whip:// : a browser, or whoever speaks WHIP, publishes the stream to a webrtc-gateway (RFC 9725).

The gateway ends the WebRTC session and sends whole access units over the bus; here they become a stream as any other.
One publisher may follow another while the stream stays what it is. `whip://?transient=1` is of a stream that a gateway
has made for its publisher, and takes away when that has left.
"""

import logging
import threading
import time
from urllib.parse import parse_qsl, urlsplit

import msgspec

from schemas.commands import KeyFrameRequest
from schemas.errors import InvalidValue
from schemas.ingest import IngestSession
from schemas.resources import StreamSpec
from schemas.subjects import ingest_key_frame
from services.capture.sink import StreamSink
from services.capture.sources.container_source import ContainerSource
from services.capture.sources.ingest_feed import IngestFeed
from services.capture.sources.ingest_player import IngestPlayer

log = logging.getLogger(__name__)

_WAITS_FOR = "a publisher"
_LOOK_SECONDS = 0.1  # how often a wait looks at the stop event, which is no descriptor
_KEY_REQUEST_SECONDS = 0.3  # one key picture serves all who ask within this time
_GATEWAY_SILENT_SECONDS = 4.0  # a gateway tells of its publisher once a second; this one is gone, and cannot say so


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    transient: bool = False


class WhipSource(ContainerSource):
    listens = True

    @classmethod
    def check(cls, spec: StreamSpec) -> None:
        """Raises:
        InvalidValue: more than whip:// and its option.
        """
        parts = urlsplit(spec.source)
        try:
            msgspec.convert(dict(parse_qsl(parts.query, keep_blank_values=True)), _Query, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidValue("source", spec.source, f"{error}; write whip:// alone") from None
        if parts.netloc or parts.path or parts.fragment:
            raise InvalidValue(
                "source", spec.source, f"write whip:// alone; who publishes goes to the gateway's /whip/{spec.stream}"
            )

    def run(self, sink: StreamSink, stop: threading.Event) -> None:
        self._sink = sink
        self._asked_at: dict[str | None, float] = {}
        self._player: IngestPlayer | None = None
        player: IngestPlayer | None = None
        ended_run, told_at = -1, 0.0
        with IngestFeed(sink.bus, self.settings.node, self.spec.stream, sink.dropped) as feed:
            sink.waiting(_WAITS_FOR)
            while not stop.is_set():
                item = feed.take(_LOOK_SECONDS)
                if isinstance(item, IngestSession):
                    if player and (item.run > player.run or (item.ended and item.run == player.run)):
                        self._over(sink, player, item.ended or "another has come")
                        ended_run, player = player.run, None
                    # Not only a higher run: clocks are set back, and of two publishers the newer may leave first.
                    if player is None and not item.ended and item.run != ended_run:
                        player = IngestPlayer(item, self.spec, sink, self._ask)
                        self._ask()
                    if player and item.run == player.run:
                        told_at = time.monotonic()
                elif item is not None and player and item[0].run == player.run:
                    player.take(*item)
                if player and time.monotonic() - told_at > _GATEWAY_SILENT_SECONDS:
                    # Not its run's end: should the gateway only have been slow, it goes on.
                    self._over(sink, player, "its gateway is silent")
                    player = None
                self._player = player

    def request_key_frame(self, rendition: str | None = None) -> bool:
        """Ask the publisher, at most a few times a second for each layer."""
        if rendition is not None and self._player and rendition in self._player.layers:
            self._sink.expect_layer(rendition)
        return self._ask(rendition)

    def _ask(self, rendition: str | None = None) -> bool:
        player = self._player
        layers = player.layers if player else ()
        if rendition not in layers:
            rendition = player.followed if player else None
        if time.monotonic() - self._asked_at.get(rendition, float("-inf")) < _KEY_REQUEST_SECONDS:
            return False
        self._asked_at = {name: at for name, at in self._asked_at.items() if name in layers}
        self._asked_at[rendition] = time.monotonic()
        subject = ingest_key_frame(self.settings.node, self.spec.stream)
        self._sink.bus.post_from_thread(subject, msgspec.json.encode(KeyFrameRequest(rendition=rendition)))
        return True

    def _over(self, sink: StreamSink, player: IngestPlayer, why: str) -> None:
        log.info("publisher left: %s", why, extra={"stream": self.spec.stream, "run": player.run})
        sink.layers(())
        sink.lost()
        sink.waiting(_WAITS_FOR)
