"""Tasks of the CloudMix API: what is known of each, on the bus, and what is told of it."""

from typing import Final, Literal

from msgspec import Struct

from schemas.cloud_mix import CloudMixStatus, MixedRules
from schemas.errors import ErrorInfo

TaskPlace = Literal["local", "cloud"]
LIVE_STATUSES: Final[frozenset[CloudMixStatus]] = frozenset(("pending", "prepare", "runing", "prestop"))
MAX_UNTOLD: Final = 32
"""Notices that wait for the queue; of more the oldest are left out, and counted."""


class TaskNotice(Struct, frozen=True, kw_only=True):
    """Something that happened to a task, for whoever it calls back."""

    number: int
    """1 is the task's first; no two have the same."""
    status: CloudMixStatus
    at_ns: int
    """CLOCK_REALTIME."""
    sources: tuple[str, ...] = ()
    """Which sources it is about, by the names that the client gave them."""
    error: ErrorInfo | None = None


class TaskRecord(Struct, frozen=True, kw_only=True):
    """One task, written by compare-and-set only."""

    task: str
    """16 lower-case hexadecimal digits."""
    owner: str
    """Whose key made it; nobody else sees it."""
    name: str
    """Unique among the owner's tasks that are not done."""
    status: CloudMixStatus
    rules: MixedRules
    """As they may be shown: without what is secret in their addresses. `Tasks.detail` gives its owner all of them."""
    rules_secret: str = ""
    """`secret://name@revision` of rules and callback where there was something secret in them."""
    callback_url: str = ""
    """As it may be shown; empty: nobody is told."""
    created_ns: int
    updated_ns: int
    stopped_ns: int = 0
    """0: it is not done."""
    stopping: bool = False
    """Its end was asked for."""
    last_operation: int = 1
    """1 is the creation; each update that is accepted is one more."""
    last_success_operation: int = 0
    """The newest one that is seen in the picture."""
    operation_error: ErrorInfo | None = None
    """Why `last_operation` failed."""
    error: ErrorInfo | None = None
    """What is wrong with it, or why it ended."""
    error_sources: tuple[str, ...] = ()
    """Sources that are lost."""
    node: str = ""
    """Where it runs."""
    traceparent: str = ""
    """Of the story of its newest change that somebody asked for."""
    place: TaskPlace = "local"
    cloud_task: str = ""
    """Its id there."""
    cloud_left: bool = False
    """The cloud may still have it, although it is mixed elsewhere or has ended."""
    mix_operation: int = 0
    """The newest operation that the mix was told of."""
    mix_revision: int = 0
    """Revision of the mix that has it."""
    notices: int = 0
    """How many there were."""
    untold: tuple[TaskNotice, ...] = ()
    """Those that are not in the queue yet."""
    untold_dropped: int = 0


class NameHolder(Struct, frozen=True):
    """Which task has a name."""

    task: str
    at_ns: int


class CallbackItem(Struct, frozen=True, kw_only=True):
    """One notice on its way to the address that a task calls back."""

    task: str
    name: str
    notice: TaskNotice


class CallbackState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the notices of a task have fared."""

    delivered: int = 0
    given_up: int = 0
    """Refused or unanswered until their time was over."""
    last_number: int = 0
    """Of the newest notice that was delivered."""
    last_at_ns: int = 0
    error: str = ""
    """Of the last try, when it failed."""


class ListMixTasks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cloud-mix-proxy.tasks: every task that is known, the newest first."""

    live: bool = True
    """Only those that are not done."""


class MixTaskEntry(Struct, frozen=True, kw_only=True):
    record: TaskRecord
    callbacks: CallbackState | None = None


class MixTaskList(Struct, frozen=True, kw_only=True):
    tasks: tuple[MixTaskEntry, ...]
