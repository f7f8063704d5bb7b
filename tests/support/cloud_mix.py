"""The CloudMix API in tests: the document's example, its door with tasks in memory, and signed requests."""

import asyncio
import contextlib
import copy
import http.client
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from schemas.cloud_mix import MixedRules
from schemas.errors import Conflict, MeshError, NotFound
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.edge.admission import REQUESTS_PER_SECOND, Admission
from services.cloud_mix_proxy.edge.exchange import Exchange
from services.cloud_mix_proxy.edge.keys import AccessKeys, Key
from services.cloud_mix_proxy.edge.signature import Request, sign
from shared.door.clients import Clients
from shared.door.connections import Connections
from shared.door.http_door import HttpDoor
from tests.support.tls_front import server_context

ROBOT, STUDIO = ("AKLTROBOT", "c2VjcmV0LW9mLXRoZS1yb2JvdA=="), ("AKLTSTUDIO", "c2VjcmV0LW9mLXRoZS1zdHVkaW8=")
KEYS = AccessKeys({ROBOT[0]: Key(ROBOT[1], "robot"), STUDIO[0]: Key(STUDIO[1], "studio")})
VERSION = "2023-01-01"
_CLOSE_SECONDS = 10.0
_RULES: dict[str, Any] = {
    "InputLayout": {
        "Scene": {"Height": 1080, "Width": 1920, "Layout": [{"X": 0, "Y": 0, "W": 960, "H": 540, "Layer": 1}]},
        "Logo": [{"Layout": {"X": 0, "Y": 0, "W": 200, "H": 200}, "Url": "http://tos.example.org/logo001.png"}],
    },
    "Output": {
        "Audio": {"BitRate": 320000, "ChannelLayout": "stereo", "SampleRate": 48000},
        "Url": ["push.example.com", "push2.example.com"],
        "Video": {"BitRate": 8000000, "FrameRate": 30, "GOP": 2, "Codec": "h264"},
        "Callback": {"Url": "https://callback.com"},
    },
    "InputSource": [{"ID": "1", "Layer": 1, "Type": "vod", "Url": "https://tos.example.org/obj/test.mp4"}],
}


def mixed_rules(sources: int = 1) -> dict[str, Any]:
    """The document's example, with as many sources."""
    rules = copy.deepcopy(_RULES)
    source, place = rules["InputSource"][0], rules["InputLayout"]["Scene"]["Layout"][0]
    rules["InputSource"] = [{**source, "ID": str(number), "Layer": number} for number in range(1, sources + 1)]
    rules["InputLayout"]["Scene"]["Layout"] = [{**place, "Layer": number} for number in range(1, sources + 1)]
    return rules


@dataclass
class MemoryTasks:
    """Keeps tasks as long as the process lives, and makes nothing of them."""

    records: dict[str, TaskRecord] = field(default_factory=dict)
    failure: MeshError | Exception | None = None
    """Raised instead of anything else."""
    seconds: float = 0.0
    """How long anything takes."""

    async def create(self, owner: str, name: str, rules: MixedRules, callback_url: str | None) -> str:
        await self._work()
        mine = [record for record in self.records.values() if record.owner == owner]
        if any(record.name == name and not record.stopped_ns for record in mine):
            raise Conflict(f"Name {name!r}: there is a task of this name in progress; choose another, or end that one")
        task = f"{len(self.records) + 1:016x}"
        now_ns = time.time_ns()
        self.records[task] = TaskRecord(
            task=task,
            owner=owner,
            name=name,
            status="runing",
            rules=rules,
            callback_url=callback_url or "",
            created_ns=now_ns,
            updated_ns=now_ns,
            last_success_operation=1,
        )
        return task

    async def update(self, owner: str, task: str, rules: MixedRules) -> int:
        await self._work()
        record = self._live(owner, task)
        number = record.last_operation + 1
        self.records[task] = _changed(record, rules=rules, last_operation=number, last_success_operation=number)
        return number

    async def delete(self, owner: str, task: str) -> None:
        await self._work()
        record = await self.detail(owner, task)
        if not record.stopped_ns:
            self.records[task] = _changed(record, status="done", stopped_ns=time.time_ns())

    async def detail(self, owner: str, task: str) -> TaskRecord:
        await self._work()
        record = self.records.get(task)
        if record is None or record.owner != owner:
            raise NotFound(f"TaskID {task!r}: there is no such task")
        return record

    async def list(self, owner: str, page: int, page_size: int) -> tuple[int, list[TaskRecord]]:
        await self._work()
        found = [record for record in reversed(self.records.values()) if record.owner == owner]
        return len(found), found[(page - 1) * page_size : page * page_size]

    async def _work(self) -> None:
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure

    def _live(self, owner: str, task: str) -> TaskRecord:
        record = self.records.get(task)
        if record is None or record.owner != owner or record.stopped_ns:
            raise NotFound(f"TaskID {task!r}: there is no such task in progress")
        return record


def _changed(record: TaskRecord, **fields: Any) -> TaskRecord:
    return msgspec.structs.replace(record, updated_ns=time.time_ns(), **fields)


@contextlib.asynccontextmanager
async def memory_tasks() -> AsyncIterator[MemoryTasks]:
    yield MemoryTasks()


@dataclass
class Api:
    """A door that listens on loopback."""

    port: int
    tasks: Any
    exchange: Exchange
    admission: Admission
    ca_file: Path | None = None
    """With it the door speaks TLS."""

    def connection(self) -> http.client.HTTPConnection:
        if self.ca_file is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)

    def signed(
        self, action: str, body: bytes, key: tuple[str, str] = ROBOT, region: str = "cn-north-1"
    ) -> tuple[str, dict[str, str]]:
        """(target, headers) of a request."""
        query = f"Action={action}&Version={VERSION}"
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {"Host": f"127.0.0.1:{self.port}", "X-Date": date, "Content-Type": "application/json"}
        request = Request("POST", "/", query, tuple(headers.items()), body)
        return f"/?{query}", {**headers, "Authorization": sign(request, *key, region, date)}


@contextlib.contextmanager
def served(
    keys: AccessKeys | None = KEYS,
    tls: tuple[Path, Path] | None = None,
    per_second: float = REQUESTS_PER_SECOND,
    most_connections: int = 256,
    tasks: Callable[[], AbstractAsyncContextManager[Any]] = memory_tasks,
    **times: float,
) -> Iterator[Api]:
    """The API in a thread of its own, as the clients block theirs. `tls`: certificate and key."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = contextlib.AsyncExitStack()

    async def begin() -> Api:
        made, clients = await stack.enter_async_context(tasks()), Clients()
        admission = Admission(keys, clients, per_second)
        exchange = Exchange(made, admission, **times)
        context = server_context(*tls) if tls else None
        door = HttpDoor(exchange.app(), "127.0.0.1", 0, context, Connections(most_connections, clients))
        port = await door.start()
        stack.push_async_callback(door.close)
        return Api(port, made, exchange, admission, tls[0] if tls else None)

    try:
        yield asyncio.run_coroutine_threadsafe(begin(), loop).result(_CLOSE_SECONDS)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(_CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_SECONDS)
        loop.close()
