"""How long pictures take from capture to packet."""

import contextlib

from prometheus_client import Histogram

from schemas.resources import RenditionSpec
from shared.metrics import STAGE_BOUNDS_SECONDS


class LatencyFigure:
    """From capture of a picture to its packet leaving the encoder, per rendition."""

    def __init__(self) -> None:
        self._histogram = Histogram(
            "framemesh_hw_encode_latency_seconds",
            "From capture of a picture to its packet leaving the encoder.",
            ("stream", "rendition"),
            buckets=STAGE_BOUNDS_SECONDS,
        )

    def observe(self, spec: RenditionSpec, seconds: float) -> None:
        """Count one picture; of one from the future, as of a host whose clock is ahead, the sum does not fall."""
        self._histogram.labels(spec.stream, spec.rendition).observe(max(0.0, seconds))

    def forget(self, spec: RenditionSpec) -> None:
        """The rendition is gone: so are its series, or names of streams would pile up."""
        with contextlib.suppress(KeyError):  # it never encoded a picture
            self._histogram.remove(spec.stream, spec.rendition)
