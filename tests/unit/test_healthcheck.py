"""`python -m shared.healthcheck`: what it says of a service that is well, ill, hung, away or something else."""

import contextlib
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from shared import healthcheck
from shared.metrics import Health, MetricsServer

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Health, str]]:
    health = Health()
    server = MetricsServer("127.0.0.1", 0, "FRAMEMESH_CAPTURE_METRICS_PORT", health)
    yield health, server.url.rsplit(":", 1)[1].split("/")[0]
    server.close()


@pytest.fixture
def served(server: tuple[Health, str]) -> tuple[Health, dict[str, str]]:
    health, port = server
    health.ready, health.problem = False, ""
    health.tick()
    return health, {"FRAMEMESH_SERVICE": "capture", "FRAMEMESH_CAPTURE_METRICS_PORT": port}


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A program that says `answer` to whoever comes, or nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    if answer is not None:
                        connection.recv(4096)
                        connection.sendall(answer)
                        connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in kept:
            connection.close()


def said(capsys: pytest.CaptureFixture[str], arguments: list[str], environ: dict[str, str]) -> tuple[int, str]:
    code = healthcheck.main(arguments, environ)
    out = capsys.readouterr().out
    assert out.count("\n") == 1  # one line, as docker inspect shows it
    return code, out.strip()


def test_tells_of_a_service_that_lives_is_ready_and_falls_ill(
    served: tuple[Health, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    health, environ = served
    assert said(capsys, [], environ) == (0, "capture: well")
    assert said(capsys, ["--ready"], environ) == (1, "capture: not ready")
    health.ready = True
    assert said(capsys, ["--ready", "capture"], environ) == (0, "capture: ready")
    health.problem = "task presence failed"
    assert said(capsys, ["capture"], environ) == (1, "capture: task presence failed")
    assert said(capsys, ["--ready"], environ) == (1, "capture: task presence failed")


@pytest.mark.parametrize("bind", ["", "0.0.0.0", "127.0.0.1"])
def test_asks_where_the_service_listens(
    served: tuple[Health, dict[str, str]], capsys: pytest.CaptureFixture[str], bind: str
) -> None:
    _, environ = served
    environ["FRAMEMESH_BIND"] = bind
    environ["FRAMEMESH_METRICS_PORT"] = "1"  # its own comes first
    assert said(capsys, [], environ)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "line"),
    [
        ([], {}, "usage:"),
        (["capture", "--redy"], {}, "usage:"),
        (["capture", "publisher"], {}, "usage:"),
        (["captur"], {}, "captur: no such service; there are capture, hw-encode"),
        (["capture"], {"FRAMEMESH_CAPTURE_METRICS_PORT": "x1"}, "FRAMEMESH_CAPTURE_METRICS_PORT 'x1': give a port"),
        (["capture"], {"FRAMEMESH_METRICS_PORT": "99999999"}, "capture: 127.0.0.1:99999999: "),
    ],
)
def test_refuses_what_is_wrong(
    arguments: list[str], environ: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = said(capsys, arguments, environ)
    assert code == 1
    assert line in out


def test_asks_the_port_of_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], _timeout: float) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert said(capsys, ["io-signal"], {"FRAMEMESH_METRICS_PORT": "0"}) == (
        1,
        "io-signal: 127.0.0.1:9107: Connection refused",
    )
    assert asked == [("127.0.0.1", 9107)]


def test_waits_for_nobody_for_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(healthcheck, "_DEADLINE_SECONDS", 0.2)
    with listening(None) as port:
        code, line = said(capsys, ["capture"], {"FRAMEMESH_METRICS_PORT": str(port)})
    assert code == 1
    assert "no answer from 127.0.0.1" in line


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100_000])
def test_is_told_from_another_program(answer: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(answer) as port:
        code, line = said(capsys, ["capture"], {"FRAMEMESH_METRICS_PORT": str(port)})
    assert code == 1
    assert "does not speak HTTP" in line or "reset" in line  # what it left unread resets the connection


def test_imports_little(served: tuple[Health, dict[str, str]]) -> None:
    program = "import sys, shared.healthcheck as h; c = h.main([]); print(c, *(set(sys.modules) & set(sys.argv[1:])))"
    slow = ["msgspec", "asyncio", "http.client", "argparse", "urllib.request", "schemas", "email", "ssl"]
    done = subprocess.run(
        [sys.executable, "-c", program, *slow], env=served[1], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == ["capture:", "well", "0"]


def test_a_scraper_that_is_gone_is_no_news(
    served: tuple[Health, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    port = int(served[1]["FRAMEMESH_CAPTURE_METRICS_PORT"])
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            # Closed with a reset, as of who has died.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name and thread.ident is not None:
            thread.join(5)
    said = capfd.readouterr().err  # figures of other tests in this process may complain
    assert "BrokenPipeError" not in said
    assert "ConnectionResetError" not in said
    assert healthcheck.trouble("127.0.0.1", port, ready=False) == ""
