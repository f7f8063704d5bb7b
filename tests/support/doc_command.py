"""`framemesh` and `nats` for lines of the documents: one process has read all libraries, and is copied for each line.

    python -m tests.support.doc_command SOCKET

A line's program is a client of the socket (`write_client`): it hands over its arguments, folder, environment and open
files, and ends with the code that comes back. So a hundred commands cost what they do, and not a hundred starts.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from schemas.errors import MeshError
from services.cli.__main__ import main as framemesh
from shared.bus import Bus, Message

_MOST_BYTES = 1 << 18
_REPLY_SECONDS = 10.0
_CLIENT = """#!{python} -SE
import json, os, signal, socket, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
connection = socket.socket(socket.AF_UNIX)
connection.connect({socket!r})
asked = json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(connection, [len(asked).to_bytes(4, "big")], [0, 1, 2])
connection.sendall(asked)
sys.exit(int(connection.recv(8) or 70))
"""


def write_client(path: Path, at: Path) -> None:
    """A program that asks the server which listens at `at`; its name says what it is asked for."""
    path.write_text(_CLIENT.format(python=sys.executable, socket=str(at)))
    path.chmod(0o755)


def serve(path: str) -> None:
    """Until it is ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _work(connection)
        connection.close()


def _work(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    length, files, _, _ = socket.recv_fds(connection, 4, 3)
    asked = b""
    while len(asked) < int.from_bytes(length, "big"):
        asked += connection.recv(_MOST_BYTES)
    program, arguments, folder, environment = json.loads(asked)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    done = threading.Event()
    threading.Thread(target=_end_with, args=(connection, done), daemon=True).start()
    code: object = 0
    try:
        {"framemesh": _framemesh, "nats": _nats}[program](arguments)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    done.set()
    if isinstance(code, str):
        print(code, file=sys.stderr, flush=True)
        code = 1
    with contextlib.suppress(OSError):  # who has asked was ended
        connection.sendall(str(code or 0).encode())
    os._exit(0)


def _end_with(connection: socket.socket, done: threading.Event) -> None:
    """Who has asked was ended: so is this."""
    if not connection.recv(1) and not done.is_set():
        os.kill(os.getpid(), signal.SIGINT)


def _framemesh(arguments: list[str]) -> None:
    """As it is, but that the mesh runs already: `up mesh.yaml` gives it what is in the file."""
    if arguments[:1] == ["up"]:
        files = [argument for argument in arguments if argument.endswith(".yaml")]
        if not files:
            return
        arguments = ["apply", *files]
    framemesh(arguments)


def _nats(arguments: list[str]) -> None:
    asyncio.run(_talk(*arguments))


async def _talk(action: str, subject: str, body: str = "") -> None:
    """What the program `nats` does with `req`, `pub` and `sub`."""
    bus = await Bus.connect(os.environ["FRAMEMESH_NATS_URL"], name="nats", timeout_seconds=_REPLY_SECONDS)

    def heard(message: Message) -> None:
        print(message.subject, message.data.decode(), flush=True)

    try:
        if action == "req":
            print((await bus.request_raw(subject, body.encode(), _REPLY_SECONDS)).decode())
        elif action == "pub":
            bus.post(subject, body.encode())
            await bus.flush()
        elif action == "sub":
            await bus.subscribe(subject, heard)
            await asyncio.Event().wait()
        else:
            raise SystemExit(f"nats {action}: not known here")
    except MeshError as error:
        raise SystemExit(f"error {error.code}: {error.message}") from None
    finally:
        await bus.drain()


if __name__ == "__main__":
    serve(sys.argv[1])
