"""The arithmetic of SCALING.md: its tables, from the benchmarks' results and from what is assumed.

A number is measured (m) on the machine of the benchmarks, with its file; assumed (a), here and nowhere else; or
computed (c) from those. `python -m ops.generate` writes the tables, and complains of those that are not what comes
out now.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "tests" / "bench" / "results"
_BIT = 8
_US = 1e-6
_DAY_SECONDS = 86_400

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


def _result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


class Measured:
    """What the benchmarks found, each with the file it is from."""

    def __init__(self) -> None:
        packets = (bus := _result("bus_scale"))["packets"]
        self.packet_bytes: float = packets["bytes"]
        self.nats_in_us: float = packets["server"]["us_per_packet_in"]
        self.nats_out_us: float = packets["server"]["us_per_packet_out"]
        self.post_us: float = packets["python"]["us_per_packet_posted"]
        self.take_us: float = packets["python"]["us_per_packet_taken"]
        self.changes: Mapping[str, Mapping[str, float]] = bus["changes_by_replicas"]
        self.states: list[Mapping[str, Any]] = bus["state"]
        passthrough = _result("passthrough")
        self.camera_core: float = passthrough["line"]["core_percent_per_source"] / 100
        few, many = passthrough["points"][0], passthrough["points"][-1]
        self.camera_bytes: float = (many["resident_bytes"] - few["resident_bytes"]) / (many["sources"] - few["sources"])
        self.rtp_us: float = _result("egress")["us_per_packet_medians"]["framemesh, no GSO"]["32"]
        self.encode_ms: float = _result("encode_mesh")["results"]["libx264-ultrafast-1080p"]["cpu_ms_per_picture"][
            "mesh"
        ]
        extract = next(one for one in _result("extract")["results"] if one["case"].startswith("h264-1080p, 1 a second"))
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
    return CAMERAS_PER_EDGE * m.camera_core + packets * (m.nats_in_us + m.nats_out_us + m.take_us) * _US


def viewer_packets() -> float:
    return CAMERA_BPS / _BIT / RTP_BYTES


def gateway_cores(m: Measured) -> float:
    """Of all gateways: each viewer's packets."""
    return VIEWERS * viewer_packets() * m.rtp_us * _US


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
        "state": CAMERAS * share * 2 * CHANGES_PER_DAY / _DAY_SECONDS,
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


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _n(value: float, digits: int = 2) -> str:
    """So many digits that count."""
    if value >= 100:
        return f"{round(value, digits - len(str(int(value)))) if value >= 10_000 else round(value):,.0f}"
    return f"{value:.{digits}g}" if value < 10 else f"{value:.0f}"


def assumptions() -> str:
    rows = [
        (
            "cameras",
            f"{CAMERAS:,}",
            f"{CAMERAS_PER_EDGE} on an edge host, {_n(CAMERA_BPS / 1e6)} Mbit/s, {FPS} a second",
        ),
        ("viewers", f"{VIEWERS:,}", f"of {STREAMS_WATCHED:,} streams at once, in {REGIONS} regions"),
        ("encoded", f"{STREAMS_ENCODED}", "streams that browsers cannot play as they come"),
        ("recordings", f"{KEPT_DAYS} days", "of every camera, on its edge host"),
        ("pictures", f"{PICTURES_PER_MINUTE} a minute", "taken of each camera by extractors"),
        ("host", f"{HOST_CORES} cores", f"{_n(HOST_BPS / 1e9)} Gbit/s; {_n(USABLE * 100)} % of both are planned with"),
    ]
    return _table(("assumed (a)", "", ""), rows)


def measured() -> str:
    m = Measured()
    one, three = m.changes["1"], m.changes["3"]
    rows = [
        ("a packet into nats-server", f"{_n(m.nats_in_us)} us", f"{m.packet_bytes:,.0f} bytes", "bus_scale"),
        ("a packet out of it, to each consumer", f"{_n(m.nats_out_us)} us", "CPU of the server", "bus_scale"),
        ("a packet posted by a service", f"{_n(m.post_us)} us", "", "bus_scale"),
        ("a packet taken by a service", f"{_n(m.take_us)} us", "", "bus_scale"),
        (
            "a change of state, one copy",
            f"{_n(one['update_p50_ms'])} ms",
            f"p99 {_n(one['update_p99_ms'])}",
            "bus_scale",
        ),
        (
            "the same, three copies",
            f"{_n(three['update_p50_ms'])} ms",
            f"p99 {_n(three['update_p99_ms'])}",
            "bus_scale",
        ),
        ("a command that changes nothing, one copy", f"{_n(one['command_p50_ms'])} ms", "", "bus_scale"),
        ("the same, three copies", f"{_n(three['command_p50_ms'])} ms", "", "bus_scale"),
        ("a camera whose packets are passed on", f"{_n(m.camera_core * 100)} % of a core", "", "passthrough"),
        ("its memory", f"{_n(m.camera_bytes / 2**20)} MiB", "", "passthrough"),
        ("an RTP packet to a viewer", f"{_n(m.rtp_us)} us", "without GSO, 32 viewers", "egress"),
        ("a 1080p picture encoded", f"{_n(m.encode_ms)} ms", "x264 ultrafast", "encode_mesh"),
        ("a picture taken out of 1080p", f"{_n(m.extract_s * 1e3)} ms", "", "extract"),
    ]
    return _table(("measured (m)", "", "", "file"), rows)


def hosts() -> str:
    m = Measured()
    cpu, line = gateways(m)
    roles = hosts_of_roles(m)
    edge_mbps = CAMERAS_PER_EDGE * CAMERA_BPS / 1e6
    up_mbps = STREAMS_WATCHED * CAMERA_BPS / edges() / 1e6
    terabytes = edge_mbps * 1e6 / _BIT * KEPT_DAYS * _DAY_SECONDS / 1e12
    per_gateway = VIEWERS / roles["gateways"]
    return _table(
        ("role (c)", "hosts", "each", "what bounds it"),
        [
            (
                "edge",
                f"{edges()}",
                f"{_n(edge_cores(m))} cores, {_n(edge_mbps)} Mbit/s in, {_n(up_mbps)} up, {_n(terabytes)} TB",
                "disk",
            ),
            ("hub", f"{roles['hub servers']}", f"three servers in each of {REGIONS} regions", "failure, not load"),
            (
                "gateway",
                f"{roles['gateways']}",
                f"{_n(per_gateway)} viewers, {_n(gateway_cores(m) / roles['gateways'])} cores",
                f"its line: {line} hosts; CPU alone {cpu}",
            ),
            ("encoder", f"{roles['encoders']}", "x264, as there is no hardware", "CPU"),
            ("extractor", f"{roles['extractors']}", "", "CPU"),
        ],
    )


def placement() -> str:
    m = Measured()
    count = max(gateways(m))
    rows = []
    for text, by_stream in (("by their stream", True), ("by chance", False)):
        streams = streams_per_gateway(by_stream, count)
        packets = streams * FPS
        rows.append(
            (
                text,
                _n(streams),
                f"{_n(packets * m.take_us * _US)} cores",
                f"{_n(streams * CAMERA_BPS / 1e9)} Gbit/s",
                f"{_n(streams * count * CAMERA_BPS / 1e9)} Gbit/s",
            )
        )
    return _table(
        ("viewers come to gateways (c)", "streams at each", "to take them", "into each", "over the bus"), rows
    )


def state() -> str:
    m = Measured()
    rows = []
    for found in m.states:
        alone, eight = m.state(found["streams"], 1), m.state(found["streams"], 8)
        rows.append(
            (
                f"{found['streams']:,} (m)",
                f"{_n(alone['copy_seconds'])} s",
                f"{_n(eight['copy_seconds'])} s",
                f"{_n(alone['copy_mib'])} MiB",
                f"{_n(alone['owned_ms'])} ms",
                f"{_n(alone['status_ms'] + alone['status_json_ms'])} ms, {_n(alone['status_json_mib'])} MiB",
                f"{_n(found['store_mib'])} MiB",
                f"{_n(eight['server_cpu_seconds'] / eight['watchers'])} s",
            )
        )
    titles = (
        "streams in one mesh",
        "copied by one",
        "by eight at once",
        "in each",
        "looked through",
        "status",
        "store",
        "of the hub's CPU, each",
    )
    return _table(titles, rows)


def writes() -> str:
    m = Measured()
    most = m.states[-1]["writes_per_second"]
    rows = []
    for text, share in (("one mesh for all", 1.0), ("a mesh in each region", 1 / REGIONS)):
        found = writes_per_second(share)
        total = sum(found.values())
        rows.append(
            (
                text,
                _n(found["presence"]),
                _n(found["demand"]),
                _n(found["state"]),
                _n(total),
                f"{_n(100 * total / most)} %",
            )
        )
    titles = ("writes a second (c)", "presence", "demand", "state", "all", f"of {_n(most)} on one server (m)")
    return _table(titles, rows)


def connections() -> str:
    roles = hosts_of_roles()
    rows = []
    for text, share in (("one mesh for all, no leaves", 1.0), ("a region, its edges as leaves", 1 / REGIONS)):
        edge_hosts = edges() * share
        others = sum(roles.values()) * share
        leaves = share < 1
        clients = others + (0 if leaves else edge_hosts * PROCESSES_PER_EDGE)
        subscriptions = (others + edge_hosts * PROCESSES_PER_EDGE) * SUBSCRIPTIONS_PER_PROCESS
        rows.append((text, _n(clients), _n(edge_hosts if leaves else 0), _n(subscriptions)))
    return _table(("at the hub (c)", "connections", "leaves", "subscriptions known"), rows)


def costs() -> str:
    m = Measured()
    camera = edge_cores(m) / CAMERAS_PER_EDGE
    viewer = gateway_cores(m) / VIEWERS
    return _table(
        ("each (c)", "CPU", "line", "memory or disk"),
        [
            (
                "camera, recorded",
                f"{_n(camera * 100)} % of a core",
                f"{_n(CAMERA_BPS / 1e6)} Mbit/s in",
                f"{_n(m.camera_bytes / 2**20)} MiB, {_n(CAMERA_BPS / _BIT * _DAY_SECONDS / 1e9)} GB a day",
            ),
            ("camera, watched", f"{_n(FPS * m.take_us * _US * 100)} % at each gateway", "the same up, once", ""),
            ("camera, encoded", f"{_n(FPS * m.encode_ms / 10)} % of a core", "", ""),
            ("viewer", f"{_n(viewer * 100)} % of a core", f"{_n(CAMERA_BPS / 1e6)} Mbit/s out", ""),
        ],
    )


def one_more() -> str:
    """Slopes from one to eight of each, in one mesh."""
    path = RESULTS / "scale.json"
    if not path.exists():
        return "Not measured on a quiet machine yet: `python -m tests.bench.scale`."
    found = json.loads(path.read_text())
    rows = []
    for what, one in found["kinds"].items():
        cpu, memory = one["cpu"], one["memory_mib"]
        unit = "% of a core" if one["cpu_unit"].startswith("percent") else "s"
        rows.append(
            (
                what,
                one["service"],
                f"{_n(cpu['each'])} {unit}",
                f"{_n(cpu['worst'])}",
                f"{_n(max(0.0, memory['each']))} MiB",
                f"{_n(memory['without'])} MiB",
            )
        )
    titles = ("one more (m)", "costs", "CPU", "furthest from the line", "memory", "without any")
    return f"{_table(titles, rows)}\n\nOn {found['date']}, load {found['machine']['load_before']} before."


TABLES: Mapping[str, Callable[[], str]] = {
    "assumptions": assumptions,
    "measured": measured,
    "hosts": hosts,
    "placement": placement,
    "state-of-many": state,
    "writes": writes,
    "connections": connections,
    "costs": costs,
    "one-more": one_more,
}
