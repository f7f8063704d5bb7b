"""The services as whoever starts, deploys or watches them sees them: one table for all of these.

The launcher, compose.yaml, the image's targets, the units of systemd, the manifests of Kubernetes and what Prometheus
scrapes come from it or are held against it by tests.
"""

from typing import Literal

from msgspec import Struct

from schemas.subjects import SERVICES

_FIRST_METRICS_PORT = 9101
_MOST_SHARING = 32  # one for each camera of a large machine; every one costs 60 to 100 MB

Device = Literal["cameras", "gpio", "serial", "gpu"]


class ServiceEntry(Struct, frozen=True, kw_only=True):
    """One service: what it is started with, and what it needs of its host."""

    name: str
    summary: str
    """What it does, in half a line."""
    metrics_port: int
    """TCP: `/metrics`, `/healthz`, `/readyz`."""
    extras: tuple[str, ...]
    """Of the distribution, that its image installs."""
    needs: str = ""
    """An import that only its extras bring: where it is missing a mesh on one machine does without the service.
    Empty: there is no mesh without it."""
    http_port: int = 0
    """TCP, of its HTTP door; 0: it has none."""
    udp_port: int = 0
    rtsp_port: int = 0
    """TCP."""
    debian_packages: tuple[str, ...] = ()
    """Programs and libraries beside Python's that its image installs."""
    writes: Literal["nothing", "recordings", "work"] = "nothing"
    """What it keeps in the data folder: recordings that people look for, or records of its own work."""
    devices: tuple[Device, ...] = ()
    """Of the host, where there are any."""
    most_instances: int = 1
    """On one node, which share its work; see `shared.share`. 1: what it has, a port or a device, there is once."""

    @property
    def module(self) -> str:
        """`python -m` this."""
        return f"services.{self.name.replace('-', '_')}"

    @property
    def environment_prefix(self) -> str:
        """Its own settings begin with this."""
        return f"FRAMEMESH_{self.name.upper().replace('-', '_')}_"


def _metrics_port(name: str) -> int:
    return _FIRST_METRICS_PORT + SERVICES.index(name)


SERVICE_TABLE: tuple[ServiceEntry, ...] = (
    ServiceEntry(
        name="capture",
        summary="cameras, files and network sources into frames and packets",
        metrics_port=_metrics_port("capture"),
        extras=("capture",),
        debian_packages=("ffmpeg",),  # SRT, which libav's wheel lacks
        writes="work",
        devices=("cameras",),
        most_instances=_MOST_SHARING,  # each has some of the streams
    ),
    ServiceEntry(
        name="hw-encode",
        summary="frames into H.264, H.265, AV1 and VP8, on the best encoder of its host",
        metrics_port=_metrics_port("hw-encode"),
        extras=("hw-encode",),
        devices=("gpu",),
        most_instances=_MOST_SHARING,  # each has the renditions of some of the streams
    ),
    ServiceEntry(
        name="publisher",
        summary="records, cuts clips, pushes, serves RTSP",
        metrics_port=_metrics_port("publisher"),
        extras=("publisher",),
        rtsp_port=8554,
        debian_packages=("libsrt1.5-gnutls",),
        writes="recordings",
    ),
    ServiceEntry(
        name="webrtc-gateway",
        summary="the console, WHEP, WHIP and Sora on one UDP port, HLS",
        metrics_port=_metrics_port("webrtc-gateway"),
        extras=("webrtc-gateway",),
        http_port=8889,
        udp_port=8189,
        writes="work",
    ),
    ServiceEntry(
        name="frame-extractor",
        summary="pictures out of videos and of live streams",
        metrics_port=_metrics_port("frame-extractor"),
        extras=("frame-extractor",),
        needs="obstore",
        http_port=8891,
        writes="work",
        most_instances=_MOST_SHARING,  # each takes jobs from the queue, and has the samples of some of the streams
    ),
    ServiceEntry(
        name="cloud-mix-proxy",
        summary="mixes, and the CloudMix API",
        metrics_port=_metrics_port("cloud-mix-proxy"),
        extras=("cloud-mix-proxy",),
        needs="PIL",
        http_port=8890,
        writes="work",
    ),
    ServiceEntry(
        name="io-signal",
        summary="outputs and inputs of machines, rules",
        metrics_port=_metrics_port("io-signal"),
        extras=("io-signal", "gpio"),
        needs="re2",
        writes="work",
        devices=("gpio", "serial"),
    ),
)
BY_NAME = {entry.name: entry for entry in SERVICE_TABLE}
