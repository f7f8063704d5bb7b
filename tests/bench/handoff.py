"""Frame hand-off: the mesh (ring and NATS references) next to iceoryx2, in one interleaved run.

`python -m tests.bench.handoff` prints a table with ratios and writes results/handoff.json; with `--quick`, or
with words that pick the cases (`4K60`), it is shorter and writes nothing. Latencies
run from the end (and from the start) of the producer's copy to a reader that has the picture, all readers pooled.
`frames/s` is what the slowest reader takes with three pictures in flight.
"""

import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.dated import keep
from tests.bench.handoff_roles import Job
from tests.support.peers import free_port

RESULTS = Path(__file__).parent / "results" / "handoff.json"
SHARED_MEMORY = Path("/dev/shm")
ROOT = Path(__file__).parents[2]
SYSTEMS = ("mesh", "iceoryx2")
CASES = (  # name, width, height, frames/s (0: flat out), readers
    ("4K60, 3 readers", 3840, 2160, 60.0, 3),
    ("4K30, 3 readers", 3840, 2160, 30.0, 3),
    ("1080p30, 1 reader", 1920, 1080, 30.0, 1),
    ("1080p30, 3 readers", 1920, 1080, 30.0, 3),
    ("1080p flat out, 1 reader", 1920, 1080, 0.0, 1),
    ("1080p flat out, 3 readers", 1920, 1080, 0.0, 3),
    ("4K flat out, 3 readers", 3840, 2160, 0.0, 3),
)
ROUNDS, QUICK_ROUNDS = 3, 1
PACED_SECONDS, FLAT_OUT_SECONDS, QUICK_SECONDS = 6.0, 3.0, 2.0
SETTLE_SECONDS = 0.3  # the last picture is on its way to the readers
CHILD_SECONDS = 60.0


class Process:
    """One producer or reader."""

    def __init__(self, system: str, role: str, number: int, job: Job) -> None:
        arguments = [f"tests.bench.handoff_{system}", role, str(number), msgspec.json.encode(job).decode()]
        self.child = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def hear(self) -> Any:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the bench ended with {self.child.wait(5)}")
        return json.loads(line)

    def go(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def end(self) -> None:
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self.child.stdin.close()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(5)


def start_nats() -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    server = Path(sys.executable).with_name("nats-server")
    child = subprocess.Popen([server, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return child, f"nats://127.0.0.1:{port}"
        time.sleep(0.02)
    child.kill()
    raise TimeoutError("nats-server does not answer")


def run(system: str, job: Job) -> dict[str, Any]:
    """One run; latencies are kept whole so that rounds can be pooled."""
    readers: list[Process] = []
    processes: list[Process] = []
    try:
        # iceoryx2 wants its publisher there first, the mesh does not care.
        producer = Process(system, "produce", 0, job)
        processes.append(producer)
        producer.hear()
        for number in range(job.readers):
            readers.append(Process(system, "read", number, job))
            processes.append(readers[-1])
        for reader in readers:
            reader.hear()
        time.sleep(SETTLE_SECONDS)
        producer.go()
        sent = producer.hear()
        time.sleep(SETTLE_SECONDS)
        for reader in readers:
            reader.go()
        reports = [reader.hear() for reader in readers]
        producer.go()
    finally:
        for process in processes:
            process.end()
    return {
        "sent": sent["sent"],
        "seconds": sent["seconds"],
        "drops": sent["dropped"] + sum(sent["sent"] - report["received"] for report in reports),
        "wrong": sum(report["wrong"] for report in reports),
        "after_copy_ms": [value for report in reports for value in report["after_copy_ms"]],
        "with_copy_ms": [value for report in reports for value in report["with_copy_ms"]],
        "copy_ms": sent["copy_ms"],
    }


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else float("nan")


def summarise(runs: list[dict[str, Any]]) -> dict[str, float]:
    pooled = {
        key: [value for one in runs for value in one[key]] for key in ("after_copy_ms", "with_copy_ms", "copy_ms")
    }
    return {
        "sent": sum(one["sent"] for one in runs),
        "drops": sum(one["drops"] for one in runs),
        "wrong": sum(one["wrong"] for one in runs),
        "fps": statistics.median(one["sent"] / one["seconds"] for one in runs),
        "after_copy_p50_ms": percentile(pooled["after_copy_ms"], 50),
        "after_copy_p99_ms": percentile(pooled["after_copy_ms"], 99),
        "with_copy_p50_ms": percentile(pooled["with_copy_ms"], 50),
        "with_copy_p99_ms": percentile(pooled["with_copy_ms"], 99),
        "copy_p50_ms": percentile(pooled["copy_ms"], 50),
    }


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [
        "| case | system | drops | after copy p50 / p99 ms | with copy p50 / p99 ms | copy p50 ms | frames/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, systems in results.items():
        for system, row in systems.items():
            lines.append(
                f"| {name} | {system} | {row['drops']:.0f} of {row['sent']:.0f} "
                f"| {row['after_copy_p50_ms']:.2f} / {row['after_copy_p99_ms']:.2f} "
                f"| {row['with_copy_p50_ms']:.2f} / {row['with_copy_p99_ms']:.2f} "
                f"| {row['copy_p50_ms']:.2f} | {row['fps']:.0f} |"
            )
        mesh, peer = (systems[system] for system in SYSTEMS)
        ratios = {key: mesh[key] / peer[key] for key in mesh if key.endswith("_ms") or key == "fps"}
        lines.append(
            f"| | ratio | | {ratios['after_copy_p50_ms']:.2f} / {ratios['after_copy_p99_ms']:.2f} "
            f"| {ratios['with_copy_p50_ms']:.2f} / {ratios['with_copy_p99_ms']:.2f} "
            f"| {ratios['copy_p50_ms']:.2f} | {ratios['fps']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    quick = "--quick" in sys.argv
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    cases = [case for case in CASES if not words or any(word in case[0] for word in words)]
    rounds = QUICK_ROUNDS if quick else ROUNDS
    strangers = set(SHARED_MEMORY.iterdir())
    nats, url = start_nats()
    results: dict[str, dict[str, dict[str, float]]] = {}
    try:
        for name, width, height, fps, readers in cases:
            runs: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
            for round_number in range(rounds):
                for system in SYSTEMS if round_number % 2 == 0 else SYSTEMS[::-1]:
                    seconds = QUICK_SECONDS if quick else PACED_SECONDS if fps else FLAT_OUT_SECONDS
                    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY, prefix="handoff-") as folder:
                        service = f"handoff-{os.getpid()}-{len(results)}-{round_number}"
                        job = Job(folder, width, height, fps, readers, seconds, url, service)
                        runs[system].append(run(system, job))
            results[name] = {system: summarise(runs[system]) for system in SYSTEMS}
            print(f"{name}: done", file=sys.stderr)
    finally:
        nats.terminate()
        nats.wait(10)
        for path in set(SHARED_MEMORY.glob("iox2_*")) - strangers:  # iceoryx2 leaves its management segment
            path.unlink(missing_ok=True)
    print(table(results))
    if not quick and not words:
        machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
        keep(RESULTS, {"machine": machine, "rounds": rounds, "cases": results})


if __name__ == "__main__":
    main()
