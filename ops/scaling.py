"""The tables of SCALING.md, of what `scaling_plan` computes.

`python -m ops.generate` writes them, and complains of those that are not what comes out now.
"""

import json
from collections.abc import Callable, Mapping

from ops import scaling_plan as plan
from ops.tables import table


def _n(value: float, digits: int = 2) -> str:
    """So many digits that count."""
    if value >= 100:
        return f"{round(value, digits - len(str(int(value)))) if value >= 10_000 else round(value):,.0f}"
    return f"{value:.{digits}g}" if value < 10 else f"{value:.0f}"


def assumptions() -> str:
    rows = [
        (
            "cameras",
            f"{plan.CAMERAS:,}",
            f"{plan.CAMERAS_PER_EDGE} on an edge host, {_n(plan.CAMERA_BPS / 1e6)} Mbit/s, {plan.FPS} a second",
        ),
        ("viewers", f"{plan.VIEWERS:,}", f"of {plan.STREAMS_WATCHED:,} streams at once, in {plan.REGIONS} regions"),
        ("encoded", f"{plan.STREAMS_ENCODED}", "streams that browsers cannot play as they come"),
        ("recordings", f"{plan.KEPT_DAYS} days", "of every camera, on its edge host"),
        ("pictures", f"{plan.PICTURES_PER_MINUTE} a minute", "taken of each camera by extractors"),
        (
            "host",
            f"{plan.HOST_CORES} cores",
            f"{_n(plan.HOST_BPS / 1e9)} Gbit/s; {_n(plan.USABLE * 100)} % of both are planned with",
        ),
    ]
    return table(("assumed (a)", "", ""), rows)


def measured() -> str:
    m = plan.Measured()
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
    return table(("measured (m)", "", "", "file"), rows)


def hosts() -> str:
    m = plan.Measured()
    cpu, line = plan.gateways(m)
    roles = plan.hosts_of_roles(m)
    edge_mbps = plan.CAMERAS_PER_EDGE * plan.CAMERA_BPS / 1e6
    up_mbps = plan.STREAMS_WATCHED * plan.CAMERA_BPS / plan.edges() / 1e6
    terabytes = edge_mbps * 1e6 / plan.BIT * plan.KEPT_DAYS * plan.DAY_SECONDS / 1e12
    per_gateway = plan.VIEWERS / roles["gateways"]
    return table(
        ("role (c)", "hosts", "each", "what bounds it"),
        [
            (
                "edge",
                f"{plan.edges()}",
                f"{_n(plan.edge_cores(m))} cores, {_n(edge_mbps)} Mbit/s in, {_n(up_mbps)} up, {_n(terabytes)} TB",
                "disk",
            ),
            ("hub", f"{roles['hub servers']}", f"three servers in each of {plan.REGIONS} regions", "failure, not load"),
            (
                "gateway",
                f"{roles['gateways']}",
                f"{_n(per_gateway)} viewers, {_n(plan.gateway_cores(m) / roles['gateways'])} cores",
                f"its line: {line} hosts; CPU alone {cpu}",
            ),
            ("encoder", f"{roles['encoders']}", "x264, as there is no hardware", "CPU"),
            ("extractor", f"{roles['extractors']}", "", "CPU"),
        ],
    )


def placement() -> str:
    m = plan.Measured()
    count = max(plan.gateways(m))
    rows = []
    for text, by_stream in (("by their stream", True), ("by chance", False)):
        streams = plan.streams_per_gateway(by_stream, count)
        packets = streams * plan.FPS
        rows.append(
            (
                text,
                _n(streams),
                f"{_n(packets * m.take_us * plan.US)} cores",
                f"{_n(streams * plan.CAMERA_BPS / 1e9)} Gbit/s",
                f"{_n(streams * count * plan.CAMERA_BPS / 1e9)} Gbit/s",
            )
        )
    return table(("viewers come to gateways (c)", "streams at each", "to take them", "into each", "over the bus"), rows)


def state() -> str:
    m = plan.Measured()
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
    return table(titles, rows)


def writes() -> str:
    m = plan.Measured()
    most = m.states[-1]["writes_per_second"]
    rows = []
    for text, share in (("one mesh for all", 1.0), ("a mesh in each region", 1 / plan.REGIONS)):
        found = plan.writes_per_second(share)
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
    return table(titles, rows)


def connections() -> str:
    roles = plan.hosts_of_roles()
    rows = []
    for text, share in (("one mesh for all, no leaves", 1.0), ("a region, its edges as leaves", 1 / plan.REGIONS)):
        edge_hosts = plan.edges() * share
        others = sum(roles.values()) * share
        leaves = share < 1
        clients = others + (0 if leaves else edge_hosts * plan.PROCESSES_PER_EDGE)
        subscriptions = (others + edge_hosts * plan.PROCESSES_PER_EDGE) * plan.SUBSCRIPTIONS_PER_PROCESS
        rows.append((text, _n(clients), _n(edge_hosts if leaves else 0), _n(subscriptions)))
    return table(("at the hub (c)", "connections", "leaves", "subscriptions known"), rows)


def costs() -> str:
    m = plan.Measured()
    camera = plan.edge_cores(m) / plan.CAMERAS_PER_EDGE
    viewer = plan.gateway_cores(m) / plan.VIEWERS
    return table(
        ("each (c)", "CPU", "line", "memory or disk"),
        [
            (
                "camera, recorded",
                f"{_n(camera * 100)} % of a core",
                f"{_n(plan.CAMERA_BPS / 1e6)} Mbit/s in",
                f"{_n(m.camera_bytes / 2**20)} MiB, {_n(plan.CAMERA_BPS / plan.BIT * plan.DAY_SECONDS / 1e9)} GB a day",
            ),
            (
                "camera, watched",
                f"{_n(plan.FPS * m.take_us * plan.US * 100)} % at each gateway",
                "the same up, once",
                "",
            ),
            ("camera, encoded", f"{_n(plan.FPS * m.encode_ms / 10)} % of a core", "", ""),
            ("viewer", f"{_n(viewer * 100)} % of a core", f"{_n(plan.CAMERA_BPS / 1e6)} Mbit/s out", ""),
        ],
    )


def one_more() -> str:
    """Slopes from one to eight of each, in one mesh."""
    path = plan.RESULTS / "scale.json"
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
    return f"{table(titles, rows)}\n\nOn {found['date']}, load {found['machine']['load_before']} before."


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
