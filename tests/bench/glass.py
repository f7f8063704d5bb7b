"""Glass to glass: the whole mesh at 720p30 with time code, seen by the console page in Chromium, beside Janus that
ffmpeg feeds with the same pictures. Round by round one and then the other, each alone on the machine.

`python -m tests.bench.glass` prints latencies and joins beside their targets and writes results/glass.json; with
`--quick` it is shorter and writes nothing. Every picture on screen is measured twice: by the capture time that
travels with the packets (abs-capture-time) and by the time code burnt into it. The stages are means per picture,
from the encoder's own histogram and from what the browser says of each picture (requestVideoFrameCallback).
"""

import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.dated import keep
from tests.bench.egress_peers import HOW_TO_GET_JANUS, JANUS
from tests.bench.glass_janus import janus_page, watch_janus
from tests.support.console import ConsolePage, console_page
from tests.support.mesh import RunningMesh
from tests.support.metrics import total

RESULTS = Path(__file__).parent / "results" / "glass.json"
RUNS, RUN_SECONDS, JOINS = 3, 15.0, 4  # joins a run; of Janus one
QUICK_RUNS, QUICK_SECONDS, QUICK_JOINS = 1, 4.0, 3
SETTLE_SECONDS = 2.0  # the page's clock has asked the server a few times, the first pictures are over
P50_TARGET_MS, P95_TARGET_MS, JOIN_TARGET_MS = 20.0, 40.0, 100.0
_ENCODE_LATENCY = "framemesh_hw_encode_latency_seconds"

# `late`: how long after the picture's capture; `received` is when its last packet came, `decode` what decoding took.
_MEASURE = """async ([stream, ms]) => {
  const script = document.querySelector('script[type="module"][src]');
  const { TimecodeReader } = await import(new URL("timecode.js", script.src));
  const reader = new TimecodeReader();
  const video = document.querySelector(`.tile[data-stream="${stream}"] video`);
  const receiver = window.peers.at(-1).getReceivers().find(({ track }) => track.kind === "video");
  const rows = [];
  const end = performance.now() + ms;
  await new Promise((resolve) => {
    const onFrame = (_, metadata) => {
      const shown = performance.now();
      const wall = framemesh.clock.wallAt(shown);
      const source = receiver.getSynchronizationSources()[0];
      const behind_ms = ((source.rtpTimestamp - metadata.rtpTimestamp) | 0) / 90;
      const captured = source.captureTimestamp - 2208988800000 - behind_ms;
      const code = reader.read(video, wall);
      rows.push({
        capture: source.captureTimestamp ? wall - captured : null,
        timecode: code === null ? null : wall - code,
        received: metadata.receiveTime === undefined ? null : framemesh.clock.wallAt(metadata.receiveTime) - captured,
        decode: (metadata.processingDuration ?? 0) * 1e3,
        presented: metadata.presentedFrames,
      });
      if (shown < end) video.requestVideoFrameCallback(onFrame);
      else resolve();
    };
    video.requestVideoFrameCallback(onFrame);
  });
  return rows;
}"""


def percentiles(values: list[float]) -> dict[str, float]:
    """Of a list of milliseconds."""
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "p99_ms": round(p99, 2)}


def watch(mesh: RunningMesh, console: ConsolePage, seconds: float) -> dict[str, Any]:
    """One run: what every picture's latency was, and the mean of each stage."""
    encode = mesh.ready["metrics"]["hw-encode"]
    before = total(encode, f"{_ENCODE_LATENCY}_sum"), total(encode, f"{_ENCODE_LATENCY}_count")
    rows = console.page.evaluate(_MEASURE, ["demo", seconds * 1e3])
    encoded = total(encode, f"{_ENCODE_LATENCY}_count") - before[1]
    encoded_ms = (total(encode, f"{_ENCODE_LATENCY}_sum") - before[0]) / encoded * 1e3
    received = [row["received"] for row in rows if row["received"] is not None]
    received_ms = statistics.fmean(received) if received else float("nan")
    decode_ms = statistics.fmean(row["decode"] for row in rows)
    shown_ms = statistics.fmean(row["capture"] for row in rows if row["capture"] is not None)
    return {
        "encoded": encoded,
        "shown": rows[-1]["presented"] - rows[0]["presented"] + 1,
        "seen": len(rows),
        "unreadable": sum(row["timecode"] is None for row in rows),
        "by_capture_time": percentiles([row["capture"] for row in rows if row["capture"] is not None]),
        "by_time_code": percentiles([row["timecode"] for row in rows if row["timecode"] is not None]),
        "stages_ms": {
            "capture and encode": round(encoded_ms, 2),
            "bus, packets, network": round(received_ms - encoded_ms, 2),
            "decode": round(decode_ms, 2),
            "jitter buffer and screen": round(shown_ms - received_ms - decode_ms, 2),
        },
    }


def join(console: ConsolePage) -> float:
    """Load the page anew; milliseconds from asking for the stream to its first picture."""
    console.page.reload()
    console.playing("demo", seconds=10.0)
    return float(console.tile("demo")["joinMs"])


def main() -> int:
    quick = "--quick" in sys.argv
    runs, seconds, joins = (QUICK_RUNS, QUICK_SECONDS, QUICK_JOINS) if quick else (RUNS, RUN_SECONDS, JOINS)
    load = os.getloadavg()[0]
    results: list[dict[str, Any]] = []
    join_ms: list[float] = []
    beside: list[dict[str, Any]] = []
    for _ in range(runs):
        with RunningMesh("--demo") as mesh, console_page() as console:
            console.open(mesh.console)
            console.playing("demo", seconds=10.0)
            console.page.wait_for_timeout(SETTLE_SECONDS * 1e3)
            results.append(watch(mesh, console, seconds))
            join_ms.extend(join(console) for _ in range(joins))
        if JANUS is not None:
            with console_page() as console, janus_page(console.page) as (page, first_ms):
                page.wait_for_timeout(SETTLE_SECONDS * 1e3)
                late = watch_janus(page, seconds)
                beside.append(
                    {
                        "by_time_code": percentiles([ms for ms in late if ms is not None]),
                        "seen": len(late),
                        "join_ms": round(first_ms),
                    }
                )
    report = {
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_before": round(load, 2),
        },
        "runs": results,
        "join": {**percentiles(join_ms), "all_ms": [round(value) for value in join_ms]},
        "janus": beside,
        "targets": {"p50_ms": P50_TARGET_MS, "p95_ms": P95_TARGET_MS, "join_p50_ms": JOIN_TARGET_MS},
    }
    print(table(report))
    if not quick:
        keep(RESULTS, report)
    return 0


def table(report: dict[str, Any]) -> str:
    """The report for people; medians over the runs."""
    lines = [f"glass to glass, 720p30, load before {report['machine']['load_before']}"]
    for name in ("by_time_code", "by_capture_time"):
        for key, target in (("p50_ms", P50_TARGET_MS), ("p95_ms", P95_TARGET_MS)):
            values = [run[name][key] for run in report["runs"]]
            lines.append(_line(f"{name} {key}", statistics.median(values), target, values))
    lines.append(_line("join p50_ms", report["join"]["p50_ms"], JOIN_TARGET_MS, report["join"]["all_ms"]))
    if report["janus"]:
        for key in ("p50_ms", "p95_ms"):
            values = [run["by_time_code"][key] for run in report["janus"]]
            name = f"Janus, by_time_code {key}"
            lines.append(f"  {name:<32}{statistics.median(values):7.1f} ms   {values}")
        lines.append(f"  {'Janus, join':<32}{[run['join_ms'] for run in report['janus']]} ms")
    else:
        lines.append(f"  {HOW_TO_GET_JANUS}")
    for stage in report["runs"][0]["stages_ms"]:
        values = [run["stages_ms"][stage] for run in report["runs"]]
        lines.append(f"  {stage:<32}{statistics.median(values):7.1f} ms")
    lines.extend(
        f"  encoded {run['encoded']:.0f}, shown {run['shown']}, without a code {run['unreadable']}"
        for run in report["runs"]
    )
    return "\n".join(lines)


def _line(name: str, value: float, target: float, values: list[float]) -> str:
    verdict = "reached" if value <= target else f"{value / target:.1f}x"
    return f"  {name:<32}{value:7.1f} ms   target {target:.0f}: {verdict}   {values}"


if __name__ == "__main__":
    sys.exit(main())
