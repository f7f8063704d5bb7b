"""What keeps CloudMix tasks, in this process on a real bus; and what they are made of, as its owners would say it."""

import asyncio
import contextlib
import http.server
import json
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from schemas.cloud_mix import MixedRules
from schemas.commands import OutputChanged, RenditionChanged, StartOutput, StartRendition, StopOutput, StopRendition
from schemas.errors import Conflict, ErrorInfo, NotFound
from schemas.ids import compound_id
from schemas.mix_resources import MixActual, MixInputActual
from schemas.mix_tasks import TaskRecord
from schemas.mixes import CreateMix, DeleteMix, MixChanged, UpdateMix
from schemas.resources import OutputActual, RenditionActual
from schemas.subjects import ACTUAL_BUCKET, DESIRED_BUCKET, command, state_key
from services.cloud_mix_proxy.tasks.records import Records
from services.cloud_mix_proxy.tasks.service import build_tasks
from services.cloud_mix_proxy.tasks.settings import TaskSettings
from services.cloud_mix_proxy.tasks.tasks import Tasks
from shared.bus import Bus, Endpoint
from shared.metrics import Figures, Health
from shared.service import VERSION, Context
from shared.state import StateMirrors
from tests.support.cloud_mix import mixed_rules
from tests.support.pace import patience

_POLL_SECONDS = 0.05


def rules(url: str = "http://tos.example.org/obj/test.mp4", **output: Any) -> MixedRules:
    """The document's example; `output` are other values of its output."""
    body = mixed_rules()
    body["InputSource"][0]["Url"] = url
    body["Output"] = {**body["Output"], **output, "Callback": None}
    return msgspec.convert(body, MixedRules)


class Node:
    """One instance of what keeps tasks."""

    def __init__(self, context: Context[TaskSettings], mirrors: StateMirrors, tasks: Tasks, records: Records) -> None:
        self.context, self.mirrors, self.tasks, self.records = context, mirrors, tasks, records

    async def kill(self) -> None:
        """It is gone between two steps, whatever it was at: nothing of it is undone but its connections."""
        await self.context.cancel_tasks()
        await self.context.stack.aclose()

    async def task(self, task: str) -> TaskRecord:
        known = await self.records.get(task)
        assert known is not None
        return known.record

    async def until(self, task: str, seconds: float = 8.0, **fields: Any) -> TaskRecord:
        """The record once its `fields` are so."""
        record = await self.task(task)
        try:
            async with patience(seconds):
                while any(getattr(record, name) != value for name, value in fields.items()):
                    await asyncio.sleep(_POLL_SECONDS)
                    record = await self.task(task)
        except TimeoutError:
            raise AssertionError(f"not {fields}: {record}") from None
        return record


@contextlib.asynccontextmanager
async def task_node(url: str, node: str = "edge1", **settings: Any) -> AsyncIterator[Node]:
    """An instance on a connection of its own."""
    with tempfile.TemporaryDirectory(prefix="mix-tasks-test-") as folder:
        values = {"node": node, "shm_dir": Path(folder), "data_dir": Path(folder), "public_only": False, **settings}
        bus = await Bus.connect(url, name=f"tasks@{node}", timeout_seconds=5)
        mirrors = await StateMirrors.open(bus)
        context = Context("cloud-mix-proxy", TaskSettings(**values), bus, AsyncExitStack(), Health(), Figures())
        records = await Records.open(bus)
        context.stack.push_async_callback(records.close)
        tasks, endpoints = await build_tasks(context, context.settings, mirrors, records, _Mixes(bus))
        served = await bus.serve("tasks", VERSION, "Tasks of a test.", endpoints)
        made = Node(context, mirrors, tasks, records)
        try:
            yield made
        finally:
            await made.kill()
            await served.close()
            await mirrors.close()
            await bus.drain()
            assert not context.failed


class _Mixes:
    """Asks `Parts`, which may be at work for several nodes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def create(self, request: CreateMix) -> MixChanged:
        return await self._bus.request(command("cloud-mix-proxy", "create"), request, MixChanged)

    async def update(self, request: UpdateMix) -> MixChanged:
        return await self._bus.request(command("cloud-mix-proxy", "update"), request, MixChanged)

    async def delete(self, request: DeleteMix) -> MixChanged:
        return await self._bus.request(command("cloud-mix-proxy", "delete"), request, MixChanged)


class Parts:
    """Answers as the owners of mixes, renditions and outputs do, and makes nothing: every one of them runs at once."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.asked: list[str] = []
        """`create`, `update`, … in order."""
        self.refused: ErrorInfo | None = None
        """What the owner of mixes says of the next layout."""
        self.mixes: dict[str, CreateMix | UpdateMix] = {}
        self.gone = ""
        """A node whose state nobody takes away any more."""

    async def open(self) -> None:
        self._desired = await self._bus.bucket(DESIRED_BUCKET)
        self._actual = await self._bus.bucket(ACTUAL_BUCKET)
        for service, endpoints in (
            (
                "cloud-mix-proxy",
                [
                    Endpoint(command("cloud-mix-proxy", "create"), CreateMix, MixChanged, self.create),
                    Endpoint(command("cloud-mix-proxy", "update"), UpdateMix, MixChanged, self.update),
                    Endpoint(command("cloud-mix-proxy", "delete"), DeleteMix, MixChanged, self.delete),
                ],
            ),
            (
                "hw-encode",
                [
                    Endpoint(command("hw-encode", "start"), StartRendition, RenditionChanged, self.start_rendition),
                    Endpoint(command("hw-encode", "stop"), StopRendition, RenditionChanged, self.stop_rendition),
                ],
            ),
            (
                "publisher",
                [
                    Endpoint(command("publisher", "start"), StartOutput, OutputChanged, self.start_output),
                    Endpoint(command("publisher", "stop"), StopOutput, OutputChanged, self.stop_output),
                ],
            ),
        ):
            await self._bus.serve(service, VERSION, "Parts of a test.", endpoints)

    async def keys(self) -> set[str]:
        return set(await self._desired.entries())

    async def nodes(self, mix: str) -> set[str]:
        """Where what a mix is made of is."""
        found = {key: json.loads(entry.value) for key, entry in (await self._desired.entries()).items()}
        return {spec["node"] for key, spec in found.items() if mix in key}

    async def say(self, mix: str, **fields: Any) -> None:
        """What the owner sees of a mix."""
        entry = await self._actual.get(state_key("cloud-mix-proxy", mix))
        assert entry is not None
        actual = msgspec.json.decode(entry.value, type=MixActual)
        await self._put("cloud-mix-proxy", mix, msgspec.structs.replace(actual, **fields))

    async def create(self, request: CreateMix) -> MixChanged:
        if await self._desired.get(state_key("cloud-mix-proxy", request.mix)):
            raise Conflict("it is there")
        return await self._mix("create", request)

    async def update(self, request: UpdateMix) -> MixChanged:
        if await self._desired.get(state_key("cloud-mix-proxy", request.mix)) is None:
            raise NotFound("it is not there")
        if request.node not in (None, self.mixes[request.mix].node):
            raise Conflict("it is made on another node")
        return await self._mix("update", request)

    async def _mix(self, verb: str, request: CreateMix | UpdateMix) -> MixChanged:
        self.asked.append(verb)
        self.mixes[request.mix] = request
        spec = {
            name: value for name, value in msgspec.to_builtins(request).items() if name not in ("wait_s", "revision")
        }
        revision = await self._desired.put(state_key("cloud-mix-proxy", request.mix), json.dumps(spec).encode())
        stream = {"stream": request.mix, "source": "app://", "node": request.node}
        await self._desired.put(state_key("capture", request.mix), json.dumps(stream).encode())
        error, self.refused = self.refused, None
        entry = await self._actual.get(state_key("cloud-mix-proxy", request.mix))
        before = msgspec.json.decode(entry.value, type=MixActual).applied_revision if entry else 0
        actual = MixActual(
            mix=request.mix,
            node=request.node or "",
            revision=revision,
            state="running",
            error=error,
            applied_revision=before if error else revision,
            inputs=tuple(MixInputActual(input=one.input, state="live") for one in request.inputs),
        )
        await self._put("cloud-mix-proxy", request.mix, actual)
        return MixChanged(code=202, service="cloud-mix-proxy", id=request.mix, revision=revision)

    async def delete(self, request: DeleteMix) -> MixChanged:
        self.asked.append("delete")
        for service in ("cloud-mix-proxy", "capture"):
            await self._desired.delete(state_key(service, request.mix))
        if self.mixes[request.mix].node != self.gone:
            await self._actual.delete(state_key("cloud-mix-proxy", request.mix))
        return MixChanged(code=200, service="cloud-mix-proxy", id=request.mix, revision=1)

    async def start_rendition(self, request: StartRendition) -> RenditionChanged:
        name = compound_id(request.stream, request.rendition)
        request = msgspec.structs.replace(request, node=self.mixes[request.stream].node)
        actual = RenditionActual(
            stream=request.stream, rendition=request.rendition, node=request.node or "", revision=1, state="running"
        )
        return await self._start("hw-encode", name, request, actual, RenditionChanged)

    async def stop_rendition(self, request: StopRendition) -> RenditionChanged:
        return await self._stop("hw-encode", compound_id(request.stream, request.rendition), RenditionChanged)

    async def start_output(self, request: StartOutput) -> OutputChanged:
        name = compound_id(request.stream, request.output)
        request = msgspec.structs.replace(request, node=request.node or self.mixes[request.stream].node)
        actual = OutputActual(
            stream=request.stream,
            output=request.output,
            rendition=request.rendition,
            node=request.node or "",
            revision=1,
            state="running",
        )
        return await self._start("publisher", name, request, actual, OutputChanged)

    async def stop_output(self, request: StopOutput) -> OutputChanged:
        return await self._stop("publisher", compound_id(request.stream, request.output), OutputChanged)

    async def _start(self, service: str, name: str, request: Any, actual: Any, reply: type[Any]) -> Any:
        self.asked.append(f"{service} {name.partition('--')[2]}")
        fields = {
            key: value for key, value in msgspec.to_builtins(request).items() if key not in ("wait_s", "revision")
        }
        fields.pop("parameters", None)
        revision = await self._desired.put(state_key(service, name), json.dumps(fields).encode())
        await self._put(service, name, actual)
        return reply(code=202, service=service, id=name, revision=revision)

    async def _stop(self, service: str, name: str, reply: type[Any]) -> Any:
        self.asked.append(f"stop {service} {name.partition('--')[2]}")
        await self._desired.delete(state_key(service, name))
        await self._actual.delete(state_key(service, name))
        return reply(code=200, service=service, id=name, revision=1)

    async def _put(self, service: str, name: str, actual: Any) -> None:
        await self._actual.put(state_key(service, name), msgspec.json.encode(actual))


def _spec(request: Any) -> dict[str, Any]:
    more = ("wait_s", "revision", "parameters")
    return {name: value for name, value in msgspec.to_builtins(request).items() if name not in more}


class Receiver:
    """Takes callbacks over HTTP; answers with the statuses of `answers` first, then 200."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.traceparents: list[str] = []
        self.answers: list[int] = []
        self.tries = 0
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.tries += 1
                status = receiver.answers.pop(0) if receiver.answers else 200
                if status == 200:
                    receiver.bodies.append(json.loads(body))
                    receiver.traceparents.append(self.headers.get("traceparent", ""))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook?token=word"

    def details(self) -> list[dict[str, Any]]:
        """In the order of their numbers."""
        return sorted((body["data"]["detail"] for body in self.bodies), key=lambda detail: detail["number"])


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made._thread.start()
    try:
        yield made
    finally:
        made._server.shutdown()
        made._server.server_close()
        made._thread.join(5)
