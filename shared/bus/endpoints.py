"""Typed NATS micro endpoints.

nats.micro runs one endpoint's handlers one at a time, sends an unexpected exception's repr to the caller, and
cannot take an endpoint off again. So: a handler is accepted and runs in a task of its own (bounded), every
error is mapped, commands of one connection begin in the order in which they came, and each resource that has commands
of its own has a small service that ends with it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import nats.errors
import nats.micro
from nats.aio.client import Client
from nats.micro.request import Request as MicroRequest
from nats.micro.service import EndpointStats, Service

from schemas.audit import is_audited
from schemas.errors import BadRequest, ErrorInfo, InternalError, MeshError, TooMany
from schemas.packets import UNREADABLE
from shared.bus.arrivals import InOrder
from shared.bus.forged import why_forged
from shared.cause import Cause, doing, of_headers, tell
from shared.explain import explain_decode_error, one_line

log = logging.getLogger(__name__)

_MAX_IN_FLIGHT = 256  # per service; beyond that callers are told to come back rather than queued without end
_FINISH_TIMEOUT_SECONDS = 2.0
OK = 200


@dataclass(frozen=True)
class Endpoint:
    """One command: what it takes, what it answers, who handles it."""

    subject: str
    request: type[Any]
    reply: type[Any]
    handle: Callable[[Any], Awaitable[Any]]
    error_in: Callable[[Any], ErrorInfo | None] | None = None
    """Finds the owner's error inside a reply, so that it also travels in the error headers."""

    @property
    def verb(self) -> str:
        return self.subject.rsplit(".", 1)[-1]

    @property
    def kind(self) -> str:
        """`capture.restart`, of whichever stream."""
        return f"{self.name.partition('.')[0]}.{self.verb}"

    @property
    def name(self) -> str:
        """As people call it: `capture.start`."""
        return self.subject.split(".cmd.", 1)[-1]


class Answered(NamedTuple):
    """One command that was answered."""

    endpoint: Endpoint
    request: bytes
    reply_to: str
    """The subject that the reply went to. It tells whose inbox that is, and proves nothing: whoever may give a command
    may name any subject for its reply."""
    reply: bytes
    error: ErrorInfo | None
    cause: Cause


class Served:
    """A running micro service."""

    def __init__(self, client: Client, service: Service, tasks: set[asyncio.Task[None]]) -> None:
        self._client = client
        self._service = service
        self._tasks = tasks

    async def close(self) -> None:
        """Stop answering; commands under way are finished, within a deadline."""
        # nats.micro waits 10 s for the server at each of a dozen subscriptions; it goes on by itself.
        stopping = asyncio.create_task(self._service.stop(), name="micro-service-stop")
        stopping.add_done_callback(_stopped)
        if self._client.is_connected:
            await asyncio.wait({stopping}, timeout=_FINISH_TIMEOUT_SECONDS)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_FINISH_TIMEOUT_SECONDS)
        for task in self._tasks:
            task.cancel()


def _stopped(stopping: asyncio.Task[None]) -> None:
    if not stopping.cancelled() and (error := stopping.exception()):
        log.debug("micro service stop: %s", error)


class _Counted(msgspec.Struct):
    requests: int = 0
    errors: int = 0
    handling_seconds: float = 0.0


async def serve(
    client: Client,
    order: InOrder,
    name: str,
    version: str,
    description: str,
    endpoints: list[Endpoint],
    metadata: dict[str, str],
    answered: "Callable[[Answered], None]",
) -> Served:
    """`order`: of all services of this client. `answered` hears of every command."""
    counted = {endpoint.subject: _Counted() for endpoint in endpoints}
    tasks: set[asyncio.Task[None]] = set()
    waiting: set[MicroRequest] = set()

    def stats(endpoint: EndpointStats) -> dict[str, Any]:
        # Handlers outlive nats.micro's own bookkeeping (they run in tasks), so the true figures are ours.
        found = counted.get(endpoint.subject)
        return msgspec.to_builtins(found) if found else {}

    service = await nats.micro.add_service(
        client, name=name, version=version, description=description, metadata=metadata, stats_handler=stats
    )
    for endpoint in endpoints:
        await service.add_endpoint(
            name=endpoint.name.replace(".", "_"),
            subject=endpoint.subject,
            handler=_accept(endpoint, counted[endpoint.subject], tasks, waiting, order, answered),
            metadata={"request": endpoint.request.__name__, "reply": endpoint.reply.__name__},
        )
    return Served(client, service, tasks)


def _accept(
    endpoint: Endpoint,
    counted: _Counted,
    tasks: set[asyncio.Task[None]],
    waiting: set[MicroRequest],
    order: InOrder,
    answered: "Callable[[Answered], None]",
) -> Callable[[MicroRequest], Awaitable[None]]:
    decoder = msgspec.json.Decoder(endpoint.request)

    async def run(request: MicroRequest) -> None:
        started = time.monotonic()
        cause = of_headers(request.headers)
        try:
            with doing(cause):
                reply, error = await _answer(endpoint, decoder, request.data)
        finally:
            counted.handling_seconds += time.monotonic() - started
        counted.errors += error is not None
        if is_audited(endpoint.verb):  # who looks at figures once a second tells no story
            tell(cause, endpoint.kind, "server", error.message if error else "", code=error.code if error else OK)
        answered(Answered(endpoint, request.data, request._msg.reply, reply, error, cause))
        try:
            if error is None:
                await request.respond(reply)
            else:
                await request.respond_error(str(error.code), one_line(error.message), data=reply)
        except (nats.errors.Error, ValueError) as failure:  # ValueError: published without a reply subject
            log.debug("%s: reply not sent: %s", endpoint.subject, failure)

    def begin(request: MicroRequest) -> None:
        waiting.discard(request)
        task = asyncio.create_task(run(request), name=f"command {endpoint.subject}")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def accept(request: MicroRequest) -> None:
        counted.requests += 1
        if why := why_forged(request.subject, endpoint.subject, request._msg.reply, request.headers):
            # No answer: it would go to whom a stranger chose.
            counted.errors += 1
            log.warning("command %s not taken: %s", endpoint.name, ascii(why))
            return
        if len(tasks) + len(waiting) >= _MAX_IN_FLIGHT:
            counted.errors += 1
            busy = TooMany(f"{_MAX_IN_FLIGHT} commands are under way; try again")
            await request.respond_error(str(busy.code), busy.message)
            return
        waiting.add(request)
        order.begin(request._msg, lambda: begin(request))  # the library has no other name for it

    return accept


async def _answer(
    endpoint: Endpoint, decoder: "msgspec.json.Decoder[Any]", data: bytes
) -> tuple[bytes, ErrorInfo | None]:
    """The reply's bytes, and the error to put in its headers."""
    try:
        reply = await endpoint.handle(decoder.decode(data or b"{}"))
    except UNREADABLE as error:
        return b"", BadRequest(f"{endpoint.verb}: {explain_decode_error(error, endpoint.request, data)}").info
    except MeshError as error:
        return b"", error.info
    except Exception:  # a bug of ours: the caller gets a code, the log gets the story
        log.exception("command %s failed", endpoint.subject)
        return b"", InternalError(f"{endpoint.verb} failed; see the service's log").info
    return msgspec.json.encode(reply), endpoint.error_in(reply) if endpoint.error_in else None
