"""What is here: `/`, `/openapi.json`, `/healthz`."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from services.frame_extractor.las.answers import Answer, response
from services.frame_extractor.las.failures import DOCUMENTED, RATE_LIMIT
from services.frame_extractor.las.submission import OPERATOR, VERSION, PollBody, SubmitBody
from services.frame_extractor.las.usage import PARAMETERS, UsageAnswer
from shared.service import VERSION as FRAMEMESH

_WHAT: Final = {"submit": "Take pictures out of a video.", "poll": "How far a task is, and its pictures."}


class AboutRoutes:
    """For anybody: nothing secret is in it."""

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy
        self._openapi = msgspec.json.encode(openapi())
        about = {
            "service": "framemesh frame-extractor",
            "version": FRAMEMESH,
            "operator_id": OPERATOR,
            "operator_version": VERSION,
            "submit": "POST /api/v1/submit",
            "poll": "POST /api/v1/poll",
            "usage": "GET /api/v1/usage",
            "openapi": "/openapi.json",
            "health": "/healthz",
        }
        self._about = msgspec.json.encode(about)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/", self._tell)
        app.router.add_get("/openapi.json", self._tell_openapi)
        app.router.add_get("/healthz", self._tell_health)

    async def _tell(self, request: web.Request) -> web.Response:
        return response(200, self._about)

    async def _tell_openapi(self, request: web.Request) -> web.Response:
        return response(200, self._openapi)

    async def _tell_health(self, request: web.Request) -> web.Response:
        return response(200, b'{"ok":true}') if self._healthy() else response(503, b'{"ok":false}')


def openapi() -> dict[str, Any]:
    """The API as OpenAPI 3.1, made from what requests are checked with."""
    bodies = {"submit": SubmitBody, "poll": PollBody}
    (*requests, answer, usage), schemas = msgspec.json.schema_components(
        (*bodies.values(), Answer, UsageAnswer), ref_template="#/components/schemas/{name}"
    )
    codes: dict[int, list[str]] = {}
    for failure in (*DOCUMENTED, RATE_LIMIT):
        codes.setdefault(failure.http, []).append(failure.business_code)

    def content(schema: dict[str, Any]) -> dict[str, Any]:
        return {"application/json": {"schema": schema}}

    failures: dict[str, Any] = {
        str(http): {"description": ", ".join(names), "content": content(answer)} for http, names in codes.items()
    }
    well: dict[str, Any] = {"description": "Well.", "content": content(answer)}
    paths: dict[str, Any] = {
        f"/api/v1/{name}": {
            "post": {
                "operationId": name,
                "summary": _WHAT[name],
                "security": [{"key": []}],
                "requestBody": {"required": True, "content": content(schema)},
                "responses": {"200": well} | failures,
            }
        }
        for name, schema in zip(bodies, requests, strict=True)
    }
    parameters = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string", "pattern": "^[0-9]{8}$"}}
        for name, text in PARAMETERS.items()
    ]
    paths["/api/v1/usage"] = {
        "get": {
            "operationId": "usage",
            "summary": "Pictures of completed tasks by day, of the key's owner.",
            "security": [{"key": []}],
            "parameters": parameters,
            "responses": {"200": {"description": "Well.", "content": content(usage)}} | failures,
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{OPERATOR} {VERSION}", "version": FRAMEMESH},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }
