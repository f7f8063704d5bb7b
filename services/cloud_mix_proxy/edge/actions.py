"""The five actions: what each is asked with, what it does, what its answer's `Data` is."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from schemas.cloud_mix import MixedRules
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.edge.answers import detailed, listed
from services.cloud_mix_proxy.edge.rules import parse_create, parse_page, parse_task, parse_update

CREATE: Final = "CreateCloudMixTask"
Action = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Of an owner and a request's body, what `Data` is."""


class Tasks(Protocol):
    """Where tasks are kept and done; of each owner only their own.

    Raises:
        MeshError: NotFound, Conflict, InvalidValue with the API's own field, TooMany, Unavailable.
    """

    async def create(self, owner: str, name: str, rules: MixedRules, callback_url: str | None) -> str:
        """The id of a new task."""

    async def update(self, owner: str, task: str, rules: MixedRules) -> int:
        """The number of the operation."""

    async def delete(self, owner: str, task: str) -> None: ...

    async def detail(self, owner: str, task: str) -> TaskRecord: ...

    async def list(self, owner: str, page: int, page_size: int) -> tuple[int, list[TaskRecord]]:
        """How many there are, and those of a page, which is 1 or more; the newest first."""


class Actions:
    """By name."""

    def __init__(self, tasks: Tasks, *, trusted: bool = False) -> None:
        """`trusted`: whoever has a key may name files, cameras and streams of the mesh."""
        self._tasks, self._trusted = tasks, trusted
        self.by_name: dict[str, Action] = {
            CREATE: self._create,
            "UpdateCloudMixTask": self._update,
            "DeleteCloudMixTask": self._delete,
            "GetCloudMixTaskDetail": self._detail,
            "ListCloudMixTask": self._list,
        }

    async def _create(self, owner: str, body: dict[str, Any]) -> object:
        asked = parse_create(body, trusted=self._trusted)
        return {"TaskID": await self._tasks.create(owner, asked.name, asked.rules, asked.callback_url)}

    async def _update(self, owner: str, body: dict[str, Any]) -> object:
        asked = parse_update(body, trusted=self._trusted)
        return {"OptID": await self._tasks.update(owner, asked.task, asked.rules)}

    async def _delete(self, owner: str, body: dict[str, Any]) -> object:
        task = parse_task(body)
        await self._tasks.delete(owner, task)
        return f"kill task [{task}] success"  # strict clients want a text here

    async def _detail(self, owner: str, body: dict[str, Any]) -> object:
        return detailed(await self._tasks.detail(owner, parse_task(body)))

    async def _list(self, owner: str, body: dict[str, Any]) -> object:
        page = parse_page(body)
        count, records = await self._tasks.list(owner, page.number, page.size)
        return listed(records, count)
