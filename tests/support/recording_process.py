"""Run as a process that a test kills: writes a live recording of synthetic packets, in real time, until it dies.

python -m tests.support.recording_process <root> <state folder> <seconds> [<suffix> …]
"""

import os
import sys
import time
from pathlib import Path

from schemas.resources import OutputSpec
from services.publisher.outputs.base import OutputSettings
from services.publisher.progress import OutputProgress
from services.publisher.writer import OutputWriter
from tests.support.packets import clip


def main(root: str, state: str, seconds: str, *suffixes: str) -> None:
    def tell(progress: OutputProgress) -> None:
        _say(f"{progress.state} {progress.file}")

    packets = clip(float(seconds), key_every=60)
    settings = OutputSettings(file_roots=(Path(root),), state_dir=Path(state))
    writers = []
    for suffix in suffixes or (".mp4",):
        output = f"archive-{suffix[1:]}" if suffixes else "archive"
        spec = OutputSpec(stream="cam0", output=output, to="file://{stream}" + suffix)
        writers.append(OutputWriter(spec, spec.to, settings, tell, expected_tracks=("video", "aac")))
        writers[-1].start()
    began = time.monotonic()
    for header, payload in packets:
        due = began + (header.dts_ns - packets[0].header.dts_ns) / 1e9
        time.sleep(max(0.0, due - time.monotonic()))
        for writer in writers:
            writer.feed(header, memoryview(payload))
        if header.track == "video":
            _say(f"fed {header.index}")


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # in one piece: two threads speak


if __name__ == "__main__":
    main(*sys.argv[1:])
