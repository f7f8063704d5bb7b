"""What a picture in an object store costs: `python -m tests.bench.store [endpoint]`.

Without an endpoint the store is one of this machine that takes everything and answers after a while: what is measured
is this side. Credentials of an endpoint are those of the AWS_… variables, its bucket is `pictures`.
"""

import asyncio
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from aiohttp import web

from services.frame_extractor.storage import Places, StorageSettings
from tests.support.object_store import free_port

PICTURE_BYTES = 120_000  # a jpg of 720p
PICTURES = 200
AWAY_SECONDS = (0.0, 0.02, 0.05)  # this machine, this country, a continent
IN_FLIGHT = (1, 4, 8, 16)


def serve(port: int, answer_seconds: float) -> None:
    async def put(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(answer_seconds)
        return web.Response(headers={"ETag": '"1"'})

    app = web.Application(client_max_size=1 << 24)
    app.router.add_put("/{name:.*}", put)
    web.run_app(app, host="127.0.0.1", port=port, print=lambda *_: None, access_log=None)


def measure(endpoint: str, threads: int, folder: Path) -> str:
    """One line: the time of each picture, pictures a second, and processor time of this side."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **os.environ, "AWS_ENDPOINT_URL": endpoint}
    places = Places(StorageSettings(data_dir=folder, upload_threads=threads), keys)
    picture = os.urandom(PICTURE_BYTES)
    writer = places.writer("s3://pictures/bench/{index}.jpg")
    writer.write(0, picture)  # connections and certificates
    took: list[float] = []
    put = writer.write
    lock = threading.Lock()

    def timed(index: int, data: bytes) -> None:
        before = time.perf_counter()
        put(index, data)
        with lock:
            took.append(time.perf_counter() - before)

    writer.write = timed  # type: ignore[method-assign]
    cpu, began = time.process_time(), time.perf_counter()
    with places.uploads(writer) as uploads:
        for index in range(PICTURES):
            uploads.put(index, picture)
    wall = time.perf_counter() - began
    cpu = time.process_time() - cpu
    took.sort()
    p50, p95 = (1000 * took[int(len(took) * share)] for share in (0.5, 0.95))
    return f"{threads:9} {p50:7.1f} {p95:7.1f} {PICTURES / wall:11.0f} {1000 * cpu / PICTURES:14.2f}"


def main() -> None:
    head = "in flight  p50 ms  p95 ms  pictures/s  ms of CPU each"
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            print(head)
            for threads in IN_FLIGHT:
                print(measure(sys.argv[1], threads, Path(folder)))
            return
        for seconds in AWAY_SECONDS:
            port = free_port()
            server = multiprocessing.get_context("spawn").Process(target=serve, args=(port, seconds), daemon=True)
            server.start()
            try:
                print(f"a store that answers after {1000 * seconds:g} ms, {PICTURE_BYTES} bytes a picture\n{head}")
                for threads in IN_FLIGHT:
                    print(measure(f"http://127.0.0.1:{port}", threads, Path(folder)))
            finally:
                server.terminate()
                server.join(10)


if __name__ == "__main__":
    main()
