"""Every request, from its first line to its answer: what it must be before anything looks into it, and every error."""

import asyncio
import logging
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from schemas.errors import MeshError
from services.cloud_mix_proxy.edge.actions import CREATE, Action, Actions, Tasks
from services.cloud_mix_proxy.edge.admission import Admission, target_of
from services.cloud_mix_proxy.edge.answers import DEFAULT_REGION, VERSION, Asked, new_request_id, refused, success
from services.cloud_mix_proxy.edge.body import MAX_BODY_BYTES, parse_body, read_body
from services.cloud_mix_proxy.edge.refusal import INVALID, LATE, MISSING, Refusal, internal, refusal_of
from shared.audit import Audit
from shared.door.body import BODY_SECONDS
from shared.door.expectation import CONTINUE
from shared.door.quiet_logs import keep_tokens_out
from shared.door.sending import send
from shared.door.told import told

logger = logging.getLogger(__name__)

ACTION_SECONDS: Final = 8.0
"""The clients wait for 10 s in all."""
_ANY_BYTES: Final = frozenset({"cookie", "user-agent"})
_SHOWN_CHARACTERS: Final = 64  # of an action or a version that nobody here knows
_ASKED: Final = web.RequestKey("asked", Asked)
# Actions that change something, by what the mesh's own commands call that.
_CHANGING: Final = {CREATE: "create", "UpdateCloudMixTask": "update", "DeleteCloudMixTask": "delete"}
_HEADERS: Final = {
    # Nothing that is answered here is a page.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Exchange:
    """What is behind the door."""

    def __init__(
        self,
        tasks: Tasks,
        admission: Admission,
        *,
        trusted: bool = False,
        body_seconds: float = BODY_SECONDS,
        action_seconds: float = ACTION_SECONDS,
        audit: Audit | None = None,
    ) -> None:
        """`trusted`: see `Actions`."""
        self.answers: Counter[tuple[str, str]] = Counter()
        """By action and HTTP status."""
        self._actions, self._admission = Actions(tasks, trusted=trusted).by_name, admission
        self._body_seconds, self._action_seconds = body_seconds, action_seconds
        self._audit = audit

    def app(self) -> web.Application:
        keep_tokens_out()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.on_response_prepare.append(_add_headers)
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        request[_ASKED] = Asked(new_request_id())
        response = await self._answer(request)
        asked = request[_ASKED]
        # Words of strangers are no label.
        action = asked.action if asked.action in self._actions else ""
        self.answers[action, str(response.status)] += 1
        await send(request, response)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            return await self._act(request)
        except Refusal as refusal:
            return _refused(request, refusal)
        except MeshError as error:
            asked = request[_ASKED]
            said = refusal_of(error, creating=asked.action == CREATE)
            if said.status >= 500:
                logger.warning("request %s: %s", asked.request_id, error.message)
            return _refused(request, said)
        except Exception:
            # A bug of ours: whoever asks gets the id, whoever runs this the rest.
            if request.transport is not None and not request.transport.is_closing():
                logger.exception("request %s failed", request[_ASKED].request_id)
            return _refused(request, internal())

    async def _act(self, request: web.Request) -> web.Response:
        _check_headers(request)
        name, action = self._named(request)
        data = await read_body(request, self._body_seconds)
        owner, signer = self._admission.owner(request, data)
        request[_ASKED] = asked = request[_ASKED]._replace(region=signer.region, in_action=True)
        self._admission.take(owner, name)
        body = parse_body(data)
        try:
            with self._told(request, name, data, owner):
                async with asyncio.timeout(self._action_seconds):
                    return success(asked, await action(owner, body))
        except TimeoutError:
            raise Refusal(LATE, f"{name} was not done within {self._action_seconds:g} s; look whether it was") from None

    def _told(self, request: web.Request, name: str, data: bytes, owner: str) -> AbstractContextManager[None]:
        verb = _CHANGING.get(name)
        if verb is None:
            return nullcontext()
        judged = self._admission.keys is not None
        return told(self._audit, request, f"cloud-mix-proxy.{verb}", data, owner, judged=judged)

    def _named(self, request: web.Request) -> tuple[str, Action]:
        """The action that is asked for."""
        path, query = target_of(request)
        pairs = parse_qsl(query, keep_blank_values=True)
        values = [[value for key, value in pairs if key == wanted] for wanted in ("Action", "Version")]
        action, version = (given[0] if given else "" for given in values)
        request[_ASKED] = request[_ASKED]._replace(
            action=action[:_SHOWN_CHARACTERS], version=version[:_SHOWN_CHARACTERS], region=DEFAULT_REGION
        )
        form = f"POST /?Action=…&Version={VERSION}"
        if path != "/":
            raise Refusal("InvalidActionOrVersion", f"there is nothing at {path[:_SHOWN_CHARACTERS]}; use {form}")
        if request.method != "POST":
            raise Refusal("MethodNotAllowed", f"use {form}")
        for what, given in zip(("Action", "Version"), values, strict=True):
            if not given or not given[0]:
                raise Refusal(MISSING, f"the query has no {what}; use {form}")
        found = self._actions.get(action)
        if found is None or version != VERSION or any(len(given) > 1 for given in values):
            asked = request[_ASKED]
            text = f"Could not find operation {asked.action} for version {asked.version}."
            raise Refusal("InvalidActionOrVersion", f"{text} There are {', '.join(self._actions)} of {VERSION}, once.")
        return action, found


def _refused(request: web.Request, refusal: Refusal) -> web.Response:
    response = refused(request[_ASKED], refusal)
    if refusal.status == 405:
        response.headers["Allow"] = "POST"  # RFC 9110 section 15.5.6
    return response


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    asked = request.get(_ASKED)
    if asked is not None:
        response.headers["X-Request-Id"] = asked.request_id


def _check_headers(request: web.Request) -> None:
    if any(name.lower() == b"expect" and value.lower() != CONTINUE for name, value in request.raw_headers):
        raise Refusal("ExpectationFailed", "header Expect: nothing but 100-continue is known here; leave it out")
    if not request.raw_path.isascii():
        raise Refusal(INVALID, "the request line: leave out characters that are not ASCII")
    for name, value in request.headers.items():
        if not value.isascii() and name.lower() not in _ANY_BYTES:
            raise Refusal(INVALID, f"header {name}: leave out characters that are not ASCII")
