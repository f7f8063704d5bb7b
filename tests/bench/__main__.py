"""Every benchmark, one after the other: `python -m tests.bench [name …]`; results in tests/bench/results/*.json."""

import subprocess
import sys

BENCHES = {
    "handoff": "a frame to its readers, beside iceoryx2",
    "encode_mesh": "encoding through the mesh, beside the ffmpeg command line",
    "passthrough": "cameras that nobody looks at, 1 to 16 of them",
    "pictures": "files and arrays of decoded frames, beside libav's mjpeg and Pillow",
    "rtsp": "an RTSP client, beside GStreamer's server",
    "egress": "a viewer's packets, beside aiortc and Janus",
    "extract": "pictures out of videos, beside ffmpeg, OpenCV, decord and PyAV",
    "mix": "four and eight inputs as one picture, beside ffmpeg's filters",
    "io": "commands to machines, and how long pulses last",
    "bus_scale": "packets, changes and the state of thousands of streams on the bus",
    "glass": "capture to browser, and joining, beside the targets",
    "startup": "one command to a picture, beside Python's imports",
    "restart": "kill -9 of each service until its work is there again, beside its imports",
    "scale": "one more stream, recording, viewer and job",
}


def main() -> int:
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names:
        print(f"\n== {name}: {BENCHES[name]}", flush=True)
        # A process of its own for each: none inherits another's threads, memory or warm caches.
        failed += subprocess.run([sys.executable, "-m", f"tests.bench.{name}"]).returncode != 0
    # What is goal, what ours and what a peer's: the summary, its picture and its page, of all results that there are.
    for module in ("tests.bench.summary", "ops.generate"):
        failed += subprocess.run([sys.executable, "-m", module]).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
