"""Run as a process that a test kills: writes a live recording of synthetic packets, in real time, until it dies.

python -m tests.support.recording_process <root> <state folder> <seconds>
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

SPEC = OutputSpec(stream="cam0", output="archive", to="file://{stream}.mp4")


def main(root: str, state: str, seconds: str) -> None:
    def tell(progress: OutputProgress) -> None:
        _say(f"{progress.state} {progress.file}")

    packets = clip(float(seconds), key_every=60)
    settings = OutputSettings(file_roots=(Path(root),), state_dir=Path(state))
    writer = OutputWriter(SPEC, SPEC.to, settings, tell, expected_tracks=("video", "aac"))
    writer.start()
    began = time.monotonic()
    for header, payload in packets:
        due = began + (header.dts_ns - packets[0].header.dts_ns) / 1e9
        time.sleep(max(0.0, due - time.monotonic()))
        writer.feed(header, memoryview(payload))
        if header.track == "video":
            _say(f"fed {header.index}")


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # in one piece: two threads speak


if __name__ == "__main__":
    main(*sys.argv[1:])
