"""nginx that serves a folder in ranges, on loopback, and counts what it sends."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers import NGINX, free_port, wait_until

_READY_SECONDS = 10.0
_CONFIGURATION = """
daemon off; master_process off; pid {work}/nginx.pid; error_log {work}/error.log; user {user};
events {{ worker_connections 64; }}
http {{
  client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work}; uwsgi_temp_path {work};
  scgi_temp_path {work}; sendfile on; log_format sent "$body_bytes_sent"; access_log {work}/sent.log sent;
  server {{ listen 127.0.0.1:{port}; location / {{ root {folder}; }} }}
}}
"""


class Server:
    """A folder over HTTP."""

    def __init__(self, port: int, work: Path) -> None:
        self._port, self._log = port, work / "sent.log"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}"

    def sent_bytes(self) -> int:
        """Since the beginning, in answers that have ended."""
        return sum(int(line) for line in self._log.read_text().split()) if self._log.exists() else 0


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as work:
        configuration = Path(work) / "nginx.conf"
        user = "root" if os.geteuid() == 0 else "nobody"  # without a master it is not changed; the line must be there
        configuration.write_text(_CONFIGURATION.format(work=work, user=user, port=port, folder=folder))
        process = subprocess.Popen([NGINX, "-p", work, "-e", f"{work}/error.log", "-c", configuration])
        try:
            wait_until(lambda: _listens(port), _READY_SECONDS, "nginx listens")
            yield Server(port, Path(work))
        finally:
            process.terminate()
            process.wait(_READY_SECONDS)


def _listens(port: int) -> bool:
    with open("/proc/net/tcp") as table:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in list(table)[1:])
