"""Where a task is mixed: what each kind of place can do with it."""

from typing import Protocol

from msgspec import Struct

from schemas.errors import ErrorInfo
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.tasks.full_rules import FullRules


class Seen(Struct, frozen=True, kw_only=True):
    """A task as it is at its place."""

    running: bool = False
    ended: bool = False
    """By itself: it will not go on."""
    told_operation: int = 0
    """The newest one that the place knows of."""
    applied_operation: int = 0
    """The newest one that is seen in the picture."""
    revision: int = 0
    cloud_task: str = ""
    operation_error: ErrorInfo | None = None
    error: ErrorInfo | None = None
    lost: tuple[str, ...] = ()
    """Sources, by the client's names."""


class Refused(Exception):
    """The place does not take the task, now or ever; has the `error` that says why."""

    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(error.message)
        self.error = error


class Place(Protocol):
    """Every call may come again after a crash, and then changes nothing that is there already."""

    async def advance(self, record: TaskRecord, full: FullRules) -> Seen:
        """Make what is missing, say what changed, and look.

        Raises:
            Refused: it does not take it.
            MeshError: it could not be asked now.
        """
        ...

    async def end(self, record: TaskRecord) -> bool:
        """Take it all away; True once nothing is left.

        Raises:
            MeshError: it could not be asked now.
        """
        ...
