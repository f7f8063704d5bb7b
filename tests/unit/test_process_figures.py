"""What a process costs is what it costs, its children's part too."""

import subprocess
import sys
import time

import pytest

from shared.process_figures import ProcessWatch

_BUSY = """
import time
block = bytearray(40 << 20)
while time.process_time() < 0.4:
    pass
print("done", flush=True)
input()
"""
_BUSY_SECONDS = 0.4
_ENDS_SECONDS = 20.0


def test_a_child_counts_with_its_time_and_memory() -> None:
    watch = ProcessWatch()
    began = time.monotonic()
    before = watch.look()
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        after = watch.look()
        elapsed_s = time.monotonic() - began
        assert after.rss_bytes - before.rss_bytes > 40e6
        assert after.cpu_percent > 0.8 * 100 * _BUSY_SECONDS / elapsed_s
        assert after.cpu_percent < 500
        child.communicate(b"\n", _ENDS_SECONDS)
    assert watch.look().rss_bytes == pytest.approx(before.rss_bytes, rel=0.5), "it has ended"
