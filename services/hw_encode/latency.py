"""How long pictures take from capture to packet."""

import contextlib

from prometheus_client import Histogram

from schemas.resources import RenditionSpec

# From half a millisecond (hardware at 60 fps) to a second (something is badly wrong).
_LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.066, 0.13, 0.25, 0.5, 1.0)


class LatencyFigure:
    """From capture of a picture to its packet leaving the encoder, per rendition."""

    def __init__(self) -> None:
        self._histogram = Histogram(
            "framemesh_hw_encode_latency_seconds",
            "From capture of a picture to its packet leaving the encoder.",
            ("stream", "rendition"),
            buckets=_LATENCY_BUCKETS_SECONDS,
        )

    def observe(self, spec: RenditionSpec, seconds: float) -> None:
        """Count one picture."""
        self._histogram.labels(spec.stream, spec.rendition).observe(seconds)

    def forget(self, spec: RenditionSpec) -> None:
        """The rendition is gone: so are its series, or names of streams would pile up."""
        with contextlib.suppress(KeyError):  # it never encoded a picture
            self._histogram.remove(spec.stream, spec.rendition)
