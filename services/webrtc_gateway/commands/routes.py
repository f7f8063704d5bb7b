"""Commands of the mesh over HTTP: `POST /api/cmd/<service>.<verb>[/<resource>]`, a JSON body, the reply's JSON."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from schemas.errors import InternalError, MeshError, TooMany
from services.webrtc_gateway.auth.denials import require
from services.webrtc_gateway.auth.grant import EVERYTHING, grant_of
from services.webrtc_gateway.commands.table import COMMANDS, find_command
from services.webrtc_gateway.signalling.whep import refusal, refused
from shared.audit import Audit
from shared.door.told import told

logger = logging.getLogger(__name__)

MAX_COMMAND_BYTES = 64 * 1024  # the longest, a whole profile of a camera, has some 4 KiB
MAX_IN_FLIGHT = 64  # a quarter of what one service works on at a time
BODY_SECONDS = 5.0
REPLY_MARGIN_SECONDS = 10.0  # beyond `wait_s`: a large picture or a list of many files takes some seconds
_JSON = "application/json"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "OPTIONS, GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}


class Asker(Protocol):
    """The bus, as far as it is needed here."""

    async def request_raw(self, subject: str, data: bytes, timeout_seconds: float = ...) -> bytes: ...


class CommandInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One command, as `GET /api/cmd` lists it."""

    name: str
    resource: str
    """What stands behind the name in the path; empty: nothing."""
    action: str
    summary: str


class InFlight:
    """Requests to the mesh that are under way, at most so many at a time."""

    def __init__(self, most: int = MAX_IN_FLIGHT) -> None:
        self._most, self._now = most, 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Raises: TooMany: no more at present."""
        if self._now >= self._most:
            raise TooMany(f"{self._most} requests are under way; try again")
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


class CommandRoutes:
    """What the console and programs without NATS give commands with; the same checks, the same errors."""

    def __init__(
        self,
        bus: Asker,
        in_flight: InFlight | None = None,
        at_home: Mapping[str, Callable[[Any], Awaitable[Any]]] | None = None,
        audit: Audit | None = None,
    ) -> None:
        """`at_home`: by name, commands that this process answers itself. `audit`: where commands are written down,
        with whose token they came."""
        self._bus, self._at_home, self._audit = bus, at_home or {}, audit
        self._in_flight = in_flight or InFlight()

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/cmd", self._list)
        for path in ("/api/cmd/{command}", "/api/cmd/{command}/{resource}"):
            app.router.add_post(path, self._post)
            app.router.add_options(path, self._preflight)

    async def _list(self, request: web.Request) -> web.Response:
        listed = [
            CommandInfo(
                name=name,
                resource="--".join(command.channel.parameters),
                action=command.action,
                summary=command.channel.summary,
            )
            for name, command in COMMANDS.items()
        ]
        return _json(200, msgspec.json.encode(listed))

    async def _post(self, request: web.Request) -> web.Response:
        try:
            return await self._give(request)
        except TimeoutError:
            return refusal(408, f"the command did not arrive within {BODY_SECONDS:.0f} s")
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, f"a command has at most {MAX_COMMAND_BYTES} bytes")
        except MeshError as error:
            return _failed(error) if error.reply else refused(error)

    async def _give(self, request: web.Request) -> web.Response:
        grant, resource = grant_of(request), request.match_info.get("resource")
        command = find_command(request.match_info["command"])
        # Browsers send a form or plain text to anywhere without asking first; this they must ask for.
        if request.body_exists and request.content_type != _JSON:
            return refusal(415, f"send the command as Content-Type: {_JSON}")
        subject = command.subject(resource)
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        asked = command.read(body)
        streams = command.streams(resource, asked)
        if not streams and not command.is_list:
            require(grant, command.action, None)
        for stream in streams:
            require(grant, command.action, stream)
        if command.action == "control":
            logger.info("%s of %s by %s", command.channel.name, resource or ",".join(streams), grant.name)
        asked = command.narrowed(asked, grant)
        with (
            self._in_flight.one(),
            told(
                # Without tokens everybody is `anyone`, whom nobody has judged.
                self._audit,
                request,
                command.channel.name,
                body,
                grant.name,
                judged=grant is not EVERYTHING,
            ),
        ):
            reply = await self._answer(command.channel.name, subject, asked)
        return _json(_status(reply), command.visible(reply, grant))

    async def _answer(self, name: str, subject: str, asked: Any) -> bytes:
        if (answer := self._at_home.get(name)) is not None:
            return msgspec.json.encode(await answer(asked))
        # What was judged is what is sent, however the text may be read elsewhere.
        return await self._bus.request_raw(subject, msgspec.json.encode(asked), _deadline_seconds(asked))

    async def _preflight(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=_PREFLIGHT)


class _Code(msgspec.Struct):
    code: int = 200


def _status(reply: bytes) -> int:
    """202 of a command that its owner has not acted on yet, else 200."""
    try:
        return 202 if msgspec.json.decode(reply, type=_Code).code == 202 else 200
    except msgspec.DecodeError:
        raise InternalError("the service's reply is not JSON") from None


def _failed(error: MeshError) -> web.Response:
    """Accepted, but the owner could not do it: the error, and the state in `reply`."""
    body: dict[str, Any] = {"code": error.code, "message": error.message, "reply": msgspec.Raw(error.reply)}
    return _json(error.code, msgspec.json.encode(body))


def _deadline_seconds(asked: Any) -> float:
    return float(getattr(asked, "wait_s", 0.0)) + REPLY_MARGIN_SECONDS


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type=_JSON, headers={"Cache-Control": "no-store"})
