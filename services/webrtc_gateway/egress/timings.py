"""How long viewers wait: for their first picture, and for each picture from capture to screen."""

from collections import OrderedDict

from prometheus_client import CollectorRegistry, Histogram

_MAX_STREAMS = 256  # whose series are kept; streams come and go, and their names would pile up
# From a pre-encoded rendition on the same machine (10 ms) to what nobody calls live.
_GLASS_TO_GLASS_BUCKETS_SECONDS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.35, 0.6, 1.0, 2.0, 5.0)
# A warm encoder answers in 50 ms; one that starts on demand needs a second or two.
_JOIN_BUCKETS_SECONDS = (0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Timings:
    """Histograms; `register` shows them to Prometheus."""

    def __init__(self) -> None:
        self._glass_to_glass = Histogram(
            "framemesh_webrtc_glass_to_glass_seconds",
            "From capture of a picture to its presentation, as pages report.",
            ("stream",),
            registry=None,
            buckets=_GLASS_TO_GLASS_BUCKETS_SECONDS,
        )
        self._streams: OrderedDict[str, None] = OrderedDict()
        """With a series, the one that was told of longest ago first."""
        self._join = Histogram(
            "framemesh_webrtc_join_seconds",
            "From the request of a viewer to its first key picture: sent, or presented as pages report.",
            ("step",),
            registry=None,
            buckets=_JOIN_BUCKETS_SECONDS,
        )
        for step in ("sent", "presented"):  # what is seen for the first time at 1 has not grown
            self._join.labels(step)

    def register(self, registry: CollectorRegistry) -> None:
        registry.register(self._glass_to_glass)
        registry.register(self._join)

    def glass_to_glass(self, stream: str, seconds: float) -> None:
        """Count one presented picture."""
        self._streams[stream] = None
        self._streams.move_to_end(stream)
        if len(self._streams) > _MAX_STREAMS:
            oldest, _ = self._streams.popitem(last=False)
            self._glass_to_glass.remove(oldest)
        self._glass_to_glass.labels(stream).observe(seconds)

    def key_picture_sent(self, seconds: float) -> None:
        """Count one viewer whose first key picture goes out."""
        self._join.labels("sent").observe(seconds)

    def picture_presented(self, seconds: float) -> None:
        """Count one viewer that has its first picture on screen."""
        self._join.labels("presented").observe(seconds)
