"""Free ports for a mesh on one machine: distinct, bindable, and none that a passing connection could take."""

import socket
from pathlib import Path

import pytest

from schemas.errors import Conflict
from services.launcher import ports
from services.launcher.ports import free_port


def test_ports_are_distinct_and_outside_those_of_passing_connections() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    given = [free_port("127.0.0.1") for _ in range(50)]
    assert len(set(given)) == 50
    assert not [port for port in given if first <= port <= last]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_taken_port_is_not_given(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", free_port("127.0.0.1", kind)))
        port = taken.getsockname()[1]
        other = free_port("127.0.0.1", kind)
        monkeypatch.setattr(ports, "_given", set())
        monkeypatch.setattr(ports, "_FREE_PORTS", [port, other])
        assert free_port("127.0.0.1", kind) == other


def test_none_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_FREE_PORTS", range(20000, 20000))
    with pytest.raises(Conflict, match="no free port on 127"):
        free_port("127.0.0.1")


def test_a_machine_whose_passing_connections_may_have_any_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_EPHEMERAL_PORTS", everything)
    assert free_port("127.0.0.1") >= 20000
