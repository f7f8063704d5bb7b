"""`GET /api/v1/usage?since=20260501&until=20260531`: what the key's owner has had, by day."""

from typing import Any, Final, Protocol

import msgspec
from aiohttp import web
from msgspec import Struct

from schemas.errors import InvalidValue
from schemas.extraction import GetUsage, UsageReply
from services.frame_extractor.las.admission import Admission
from services.frame_extractor.las.answers import response
from services.frame_extractor.las.failures import PARAMETER_INVALID, Refused

PARAMETERS: Final = {
    "since": "the first day, as 20260501; not given: the first that is known",
    "until": "the last day, itself included; not given: today",
}


class UsageDay(Struct, frozen=True, kw_only=True):
    """One day, of UTC: that on which the tasks were completed."""

    day: str
    tasks: int
    pictures: int


class UsageAnswer(Struct, frozen=True, kw_only=True):
    """What the owner of the key has had."""

    owner: str
    days: tuple[UsageDay, ...]
    """The first one first; those without a completed task are left out."""
    tasks: int
    """In all these days."""
    pictures: int


class Jobs(Protocol):
    """Where usage is kept."""

    async def usage(self, request: GetUsage) -> UsageReply: ...


class UsageRoutes:
    """For whoever has a key; of nobody else's tasks."""

    def __init__(self, jobs: Jobs, admission: Admission) -> None:
        self._jobs, self._admission = jobs, admission

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/v1/usage", self._get)

    async def _get(self, request: web.Request) -> web.Response:
        owner = self._admission.owner(request)
        with self._admission.one(owner):
            reply = await self._jobs.usage(_asked(request, owner))
        days = tuple(UsageDay(day=usage.day, tasks=usage.jobs, pictures=usage.pictures) for usage in reply.usage)
        tasks = sum(day.tasks for day in days)
        return response(
            200, msgspec.json.encode(UsageAnswer(owner=owner, days=days, tasks=tasks, pictures=reply.pictures))
        )


def _asked(request: web.Request, owner: str) -> GetUsage:
    """Raises: Refused: names the parameter, its value and the fix."""
    given: dict[str, Any] = dict(request.query)
    for name, value in given.items():
        if name not in PARAMETERS:
            raise _invalid(name, value, f"there are: {', '.join(PARAMETERS)}")
        if len(request.query.getall(name)) > 1:
            raise _invalid(name, value, "give it once")
        try:
            msgspec.convert({name: value}, GetUsage)
        except msgspec.ValidationError:
            raise _invalid(name, value, "write a day as 20260501") from None
    asked: GetUsage = msgspec.convert({**given, "owner": owner}, GetUsage)
    return asked


def _invalid(name: str, value: str, fix: str) -> Refused:
    return Refused(PARAMETER_INVALID, InvalidValue(name[:40], value[:40], fix).message)
