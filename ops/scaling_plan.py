"""The arithmetic of SCALING.md, from the benchmarks' results and from what is assumed.

A number is measured (m) on the machine of the benchmarks, with its file; assumed (a), here and nowhere else; or
computed (c) from those.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "tests" / "bench" / "results"
BIT = 8
US = 1e-6
DAY_SECONDS = 86_400

# (a): a plan for cities, factories or shops, each with some dozen cameras behind a line of their own.
CAMERAS = 10_000
VIEWERS = 100_000
CAMERAS_PER_EDGE = 50
REGIONS = 10
STREAMS_WATCHED = 1_000  # at once: a tenth of all, a hundred viewers each
STREAMS_ENCODED = 200  # of those watched, whose own packets a browser cannot play
CAMERA_BPS = 4e6
FPS = 25
RTP_BYTES = 1_200
KEPT_DAYS = 7
PICTURES_PER_MINUTE = 1  # that extractors take of each camera
HOST_CORES = 16
HOST_BPS = 10e9
USABLE = 0.6  # of cores and lines: the rest is for a neighbour that is lost, and for the hour when all look
PROCESSES_PER_EDGE = 4  # capture, hw-encode, publisher, io-signal
SUBSCRIPTIONS_PER_PROCESS = 40  # commands, watches, discovery
PRESENCE_SECONDS = 3.0
DEMAND_SECONDS = 2.0
CHANGES_PER_DAY = 24  # of the state of each stream: a line that is lost, a source that comes back


def result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


class Measured:
    """What the benchmarks found, each with the file it is from."""

    def __init__(self) -> None:
        packets = (bus := result("bus_scale"))["packets"]
        self.packet_bytes: float = packets["bytes"]
        self.nats_in_us: float = packets["server"]["us_per_packet_in"]
        self.nats_out_us: float = packets["server"]["us_per_packet_out"]
        self.post_us: float = packets["python"]["us_per_packet_posted"]
        self.take_us: float = packets["python"]["us_per_packet_taken"]
        self.changes: Mapping[str, Mapping[str, float]] = bus["changes_by_replicas"]
        self.states: list[Mapping[str, Any]] = bus["state"]
        passthrough = result("passthrough")
        self.camera_core: float = passthrough["line"]["core_percent_per_source"] / 100
        few, many = passthrough["points"][0], passthrough["points"][-1]
        self.camera_bytes: float = (many["resident_bytes"] - few["resident_bytes"]) / (many["sources"] - few["sources"])
        self.rtp_us: float = result("egress")["us_per_packet_medians"]["framemesh, no GSO"]["32"]
        self.encode_ms: float = result("encode_mesh")["results"]["libx264-ultrafast-1080p"]["cpu_ms_per_picture"][
            "mesh"
        ]
        extract = next(one for one in result("extract")["results"] if one["case"].startswith("h264-1080p, 1 a second"))
        self.extract_s: float = extract["ways"]["framemesh"]["cpu_s"] / extract["pictures"]

    def state(self, streams: int, watchers: int) -> Mapping[str, Any]:
        """What `watchers` that begin at once see of a mesh of so many streams."""
        found = next(one for one in self.states if one["streams"] == streams)
        return next(dict(one, **found) for one in found["watching"] if one["watchers"] == watchers)


def edges() -> int:
    return math.ceil(CAMERAS / CAMERAS_PER_EDGE)


def edge_cores(m: Measured) -> float:
    """Capture, the server between, and a recorder of all."""
    packets = CAMERAS_PER_EDGE * FPS
    return CAMERAS_PER_EDGE * m.camera_core + packets * (m.nats_in_us + m.nats_out_us + m.take_us) * US


def viewer_packets() -> float:
    return CAMERA_BPS / BIT / RTP_BYTES


def gateway_cores(m: Measured) -> float:
    """Of all gateways: each viewer's packets."""
    return VIEWERS * viewer_packets() * m.rtp_us * US


def gateways(m: Measured) -> tuple[int, int]:
    """How many hosts CPU asks for, and how many their lines."""
    cores = math.ceil(gateway_cores(m) / (HOST_CORES * USABLE))
    return cores, math.ceil(VIEWERS * CAMERA_BPS / (HOST_BPS * USABLE))


def streams_per_gateway(by_stream: bool, count: int) -> float:
    """That a gateway takes from the bus, when viewers come to it by their stream, or by chance."""
    if by_stream:
        return STREAMS_WATCHED / count
    return STREAMS_WATCHED * (1 - math.pow(1 - 1 / STREAMS_WATCHED, VIEWERS / count))


def demand_keys() -> int:
    """That are put again and again: each recording, and each stream at each gateway that shows it."""
    return CAMERAS + STREAMS_WATCHED


def writes_per_second(share: float) -> dict[str, float]:
    """To JetStream, of such a share of the mesh."""
    processes = (edges() * PROCESSES_PER_EDGE + sum(hosts_of_roles().values())) * share
    return {
        "presence": processes / PRESENCE_SECONDS,
        "demand": demand_keys() * share / DEMAND_SECONDS,
        "state": CAMERAS * share * 2 * CHANGES_PER_DAY / DAY_SECONDS,
    }


def hosts_of_roles(m: Measured | None = None) -> dict[str, int]:
    """All but the edges."""
    m = m or Measured()
    encoders = math.ceil(STREAMS_ENCODED * FPS * m.encode_ms / 1e3 / (HOST_CORES * USABLE))
    pictures = CAMERAS * PICTURES_PER_MINUTE / 60
    return {
        "gateways": max(gateways(m)),
        "encoders": encoders,
        "extractors": math.ceil(pictures * m.extract_s / (HOST_CORES * USABLE)),
        "hub servers": 3 * REGIONS,
    }
