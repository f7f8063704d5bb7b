"""What systemd hears of a service."""

import os
import socket
from pathlib import Path

import pytest

from shared import notify

pytestmark = pytest.mark.unit


def listener(address: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.settimeout(30)
    line.bind(address)
    return line


@pytest.mark.parametrize("abstract", [False, True])
def test_words_reach_the_socket(tmp_path: Path, abstract: bool) -> None:
    name = f"framemesh-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listener("\0" + name if abstract else name) as line:
        notify.tell(notify.READY, {notify.VARIABLE: "@" + name if abstract else name})
        assert line.recv(64) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_who_listens_is_no_trouble(address: str) -> None:
    notify.tell(notify.READY, {notify.VARIABLE: address})
    notify.tell(notify.READY, {})


def test_a_socket_that_is_full_holds_nobody_up(tmp_path: Path) -> None:
    with listener(str(tmp_path / "notify")) as line:
        for _ in range(10_000):  # far more than any kernel keeps
            notify.tell(notify.ALIVE, {notify.VARIABLE: str(tmp_path / "notify")})
        assert line.recv(64) == b"WATCHDOG=1"
