"""What an output has been told and not done yet."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from schemas.errors import ErrorInfo, MeshError, TooMany
from schemas.units import NS_PER_SECOND
from services.io_signal.hand.protocol import Cause, Done, Send, Switch


@dataclass(eq=False)
class Job:
    """One command in the queue of an output."""

    asked: Switch | Send
    since_seconds: float
    """Of the event loop's clock: when it came, to the service."""
    answer: "asyncio.Future[Done]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def is_on(self) -> bool:
        return isinstance(self.asked, Switch) and self.asked.on

    def done(self, *, edge_ns: int = 0, until_ns: int = 0, reply: str = "", error: ErrorInfo | None = None) -> None:
        if not self.answer.done():
            self.answer.set_result(
                Done(number=self.asked.number, edge_ns=edge_ns, until_ns=until_ns, reply=reply, error=error)
            )

    def refuse(self, error: ErrorInfo) -> None:
        self.done(error=error)


class JobQueue:
    """Belongs to the event loop; in the order in which they came."""

    def __init__(self, signal: str) -> None:
        self._signal = signal
        self._waiting: deque[Job] = deque()
        self.doing: Job | None = None
        """The one that was taken last, until the next is."""
        self.refusal: MeshError | None = None
        """Of every `on`, while it is there."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, asked: Switch | Send, most: int) -> Job:
        """Queue it, or refuse it at once: `most` may wait."""
        loop = asyncio.get_running_loop()
        late_ns = time.time_ns() - asked.asked_ns if isinstance(asked, Switch) and asked.asked_ns else 0
        job = Job(asked, loop.time() - max(late_ns, 0) / NS_PER_SECOND)
        if job.is_on and self.refusal is not None:
            job.refuse(self.refusal.info)
        elif len(self._waiting) >= most:
            full = f"{most} commands wait for {self._signal}; try again, or set its `queue` higher"
            job.refuse(TooMany(full).info)
        else:
            self._waiting.append(job)
        return job

    def take(self) -> Job:
        self.doing = self._waiting.popleft()
        return self.doing

    def put_back(self, job: Job) -> None:
        """The next one is this again: where what refuses those that wait finds it."""
        self._waiting.appendleft(job)

    def is_next(self, job: Job) -> bool:
        return bool(self._waiting) and self._waiting[0] is job

    def refuse_ons(self, error: MeshError) -> None:
        for job in tuple(self._waiting):
            if job.is_on:
                self._waiting.remove(job)
                job.refuse(error.info)

    def refuse_all(self, error: MeshError) -> None:
        """Also the one that is being done."""
        for job in (self.doing, *self._waiting):
            if job is not None:
                job.refuse(error.info)
        self._waiting.clear()


@dataclass
class Owed:
    """A state that an output must come to before anything else; tried until it has it, or a command has gone well."""

    on: bool
    cause: Cause
    by: str = ""
    why: str = ""
    trace_id: str = ""
    next_seconds: float = 0.0
    """When to try again, by the event loop's clock."""
    tries: int = 0
