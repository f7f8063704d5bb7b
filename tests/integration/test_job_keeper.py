"""The process that gives each job a copy of itself: one after the other, and what a copy dies of."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.peers import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

# A job is one line: what to do.
KEEPER = """
import os, signal, sys, time
from services.frame_extractor.jobs.keeper import keep
def do_one():
    what = os.read(0, 5).decode()
    print(what.strip(), os.getpid(), os.getppid(), flush=True)
    if what == "term\\n": os.kill(os.getpid(), signal.SIGTERM)
    if what == "kill\\n": os.kill(os.getpid(), signal.SIGKILL)
    if what == "fail\\n": raise ValueError("no such job")
    if what == "hang\\n": time.sleep(60)
keep(do_one)
"""


@contextmanager
def keeper() -> Iterator["subprocess.Popen[bytes]"]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", KEEPER], bufsize=0, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def do(process: "subprocess.Popen[bytes]", what: str) -> int:
    """Have one thing done; the process that does it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n".encode())
    said, copy, parent = process.stdout.readline().decode().split()
    assert (said, int(parent)) == (what, process.pid)
    return int(copy)


def test_each_job_has_a_copy_of_its_own_and_the_end_is_quiet() -> None:
    with keeper() as process:
        assert len({do(process, "good") for _ in range(3)}) == 3
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [("term", -signal.SIGTERM, b""), ("kill", -signal.SIGKILL, b""), ("fail", 1, b"ValueError: no such job")],
)
def test_what_a_copy_dies_of_the_keeper_dies_of(what: str, status: int, said: bytes) -> None:
    with keeper() as process:
        do(process, "good")
        do(process, what)
        assert process.wait(10) == status
        assert process.stderr is not None
        assert said in process.stderr.read()


def test_a_copy_does_not_outlive_its_keeper() -> None:
    with keeper() as process:
        copy = do(process, "hang")
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: _is_gone(copy), 5.0, "the copy ends")


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
