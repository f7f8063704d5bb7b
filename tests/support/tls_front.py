"""TLS in front of a plain TCP server on loopback, with a certificate made for it."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK_BYTES = 65_536
_CLOSE_SECONDS = 5.0


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    made, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return made, key


def server_context(certificate_file: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key)
    return context


@dataclass
class TlsFront:
    port: int = 0
    received_bytes: int = 0
    """What clients have said inside TLS."""


@contextlib.contextmanager
def tls_front(port: int, context: ssl.SSLContext) -> Iterator[TlsFront]:
    """A TLS port whose connections go on to `port` in the clear, from a client's first word on."""
    front = TlsFront()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(_CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # some look at the certificate after the handshake
            first = await reader.read(_CHUNK_BYTES)
        if not first:
            writer.close()
            return
        front.received_bytes += len(first)
        behind = await asyncio.open_connection("127.0.0.1", port)
        behind[1].write(first)
        await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))

    async def begin() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)

    async def end() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(_CLOSE_SECONDS)
    try:
        front.port = server.sockets[0].getsockname()[1]
        yield front
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(_CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_SECONDS)
        loop.close()
