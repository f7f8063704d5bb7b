"""What an output has been told and not done yet."""

import asyncio
from dataclasses import dataclass, field

from schemas.errors import ErrorInfo
from services.io_signal.hand.protocol import Cause, Done, Send, Switch


@dataclass(eq=False)
class Job:
    """One command in the queue of an output."""

    asked: Switch | Send
    since_seconds: float
    """Of the event loop's clock: when it came."""
    answer: "asyncio.Future[Done]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def done(self, **fields: object) -> None:
        if not self.answer.done():
            self.answer.set_result(Done(number=self.asked.number, **fields))  # type: ignore[arg-type]

    def refuse(self, error: ErrorInfo) -> None:
        self.done(error=error)


@dataclass
class Owed:
    """A state that an output must come to before anything else; tried until it has it, or a command has gone well."""

    on: bool
    cause: Cause
    by: str = ""
    why: str = ""
    next_seconds: float = 0.0
    """When to try again, by the event loop's clock."""
    tries: int = 0
