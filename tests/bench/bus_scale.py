"""What the bus carries on one machine: packets, changes, state of thousands of streams. For ops/SCALING.md.

`python -m tests.bench.bus_scale`: about a minute; results in tests/bench/results/bus_scale.json.
"""

import asyncio
import json
import os
import platform
from pathlib import Path
from typing import Any

from tests.bench import bus_packets, bus_state
from tests.bench.dated import keep
from tests.support.bare_service import bare_service
from tests.support.nats import NatsServer
from tests.support.nats_cluster import NatsCluster

RESULTS = Path(__file__).parent / "results" / "bus_scale.json"
STREAMS = (1_000, 10_000)
_REQUEST = {"stream": "cam0", "source": "test://?size=384x216&fps=5"}
_SUBJECT = "mesh.v1.cmd.capture.start"


def changes() -> dict[str, Any]:
    """With one server and one copy, and with three of each."""
    found: dict[str, Any] = {}
    with NatsServer() as server:
        found["1"] = asyncio.run(bus_state.change_ms(server.url, 1))
        with bare_service("capture", server.url):
            no_op = asyncio.run(bus_state.no_op_ms(server.url, _SUBJECT, _REQUEST))
            found["1"] |= {f"command_{key}": value for key, value in no_op.items()}
    with NatsCluster() as cluster:
        found["3"] = asyncio.run(bus_state.change_ms(cluster.urls(), 3))
        with bare_service("capture", cluster.urls(), NATS_REPLICAS="3"):
            no_op = asyncio.run(bus_state.no_op_ms(cluster.urls(), _SUBJECT, _REQUEST))
            found["3"] |= {f"command_{key}": value for key, value in no_op.items()}
    return found


def state(streams: int) -> dict[str, Any]:
    with NatsServer() as server:
        assert server._process is not None
        pid = server._process.pid
        found: dict[str, Any] = {"streams": streams, **asyncio.run(bus_state.fill(server.url, streams))}
        found["watching"] = [bus_state.run_watcher(server.url, pid, count) for count in (1, 8)]
        resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
        found["server_mib"] = round(int(resident) * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)
        store = Path(server.folder)
        found["store_mib"] = round(sum(f.stat().st_size for f in store.rglob("*") if f.is_file()) / (1 << 20), 1)
    return found


def main() -> None:
    load_before = os.getloadavg()[0]
    points = [bus_packets.measure(streams, fan_out) for streams, fan_out in bus_packets.POINTS]
    for point in points:
        print(point, flush=True)
    result = {
        "what": f"one nats-server and its clients on this machine; packets of {bus_packets.PACKET_BYTES} bytes",
        "packets": {
            "bytes": bus_packets.PACKET_BYTES,
            "server": bus_packets.slopes(points),
            "python": asyncio.run(bus_packets.python_ends()),
            "points": [point._asdict() for point in points],
        },
        "changes_by_replicas": changes(),
        "state": [state(streams) for streams in STREAMS],
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_before": round(load_before, 2),
            "load_after": round(os.getloadavg()[0], 2),
        },
    }
    print(json.dumps(result, indent=1))
    keep(RESULTS, result)
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
