"""RTMP through the gate, with nginx's RTMP module as the server."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from schemas.errors import MeshError, Unavailable
from shared.netguard import Policy, Timeouts, check, open_input
from tests.support.media_server import clip

MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
POLICY = Policy(schemes=frozenset(("rtmp",)), allow_private=True)
QUICK = Timeouts(open_seconds=5.0, read_seconds=5.0)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (shutil.which("nginx") and MODULE.exists()), reason="needs nginx with its RTMP module"),
]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """nginx on a free port, with the applications `live` and `live/inst`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"load_module {MODULE};\ndaemon off;\nmaster_process off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/log;\n"
        f"events {{}}\nrtmp {{ server {{ listen 127.0.0.1:{number}; application live {{ live on; }} }} }}\n"
    )
    server = subprocess.Popen(["nginx", "-c", str(config), "-p", str(tmp_path), "-e", str(tmp_path / "log")])
    try:
        deadline = time.monotonic() + 5
        while True:
            try:
                socket.create_connection(("127.0.0.1", number), 1).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.02)  # nginx has no other way to say that it listens
        yield number
    finally:
        server.terminate()
        server.wait(5)


def test_it_plays(port: int, tmp_path: Path) -> None:
    file = tmp_path / "clip.flv"
    file.write_bytes(clip("flv", 60))
    command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(file), "-c", "copy", "-f", "flv"]
    publisher = subprocess.Popen([*command, f"rtmp://127.0.0.1:{port}/live/cam"])
    try:
        guarded = check(f"rtmp://localhost:{port}/live/cam", POLICY)
        with open_input(guarded, timeouts=QUICK) as container:
            frames = list(islice(container.decode(video=0), 10))
        assert [(frame.width, frame.height) for frame in frames] == [(384, 64)] * 10
    finally:
        publisher.terminate()
        publisher.wait(5)


def test_the_server_sees_the_name(tmp_path: Path) -> None:
    # The command `connect` carries tcUrl in clear; the handshake before it is 1 + 2 * 1536 bytes of anything.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        seen = bytearray()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(2)
                first = b""
                while len(first) < 1_537:
                    first += connection.recv(4_096)
                connection.sendall(b"\x03" + bytes(1_536) + first[1:1_537])
                while b"tcUrl" not in seen or len(seen) < 1_536 + 200:
                    seen.extend(connection.recv(4_096) or b"end" * 1_000)

        thread = threading.Thread(target=serve)
        thread.start()
        guarded = check(f"rtmp://u:secret99@localhost:{number}/live/inst/cam?x=1", POLICY)
        with pytest.raises(MeshError) as caught:
            open_input(guarded, timeouts=Timeouts(1, 1))
        thread.join(5)
    assert f"rtmp://localhost:{number}/live/inst\x00".encode() in bytes(seen)
    assert "secret99" not in caught.value.message


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    with pytest.raises(Unavailable):
        open_input(check(f"rtmp://localhost:{number}/live/cam", POLICY), timeouts=QUICK)
