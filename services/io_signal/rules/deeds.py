"""What rules do: their commands go over the bus as anybody's."""

import logging
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.errors import ErrorInfo, InternalError, InvalidValue, MeshError
from schemas.events import Event
from schemas.moments import TakenPicture
from schemas.recordings import StartRecording
from schemas.signals import PlannedCommand
from schemas.subjects import PREFIX
from services.io_signal.rules.planning import Planned, end_of_recording
from services.io_signal.rules.recordings import RuleRecordings
from services.io_signal.rules.snapshots import Snapshots
from shared.bus import Bus

log = logging.getLogger(__name__)

_REPLY_SECONDS: Final = 10.0  # beyond `wait_s` of the command
_MAX_WAIT_SECONDS: Final = 60.0  # as commands have it


class Deed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action that was done, as event `fired` tells it."""

    command: str
    error: ErrorInfo | None = None
    file: str = ""
    """Of a snapshot."""


class Deeds:
    """Does what was planned."""

    def __init__(self, bus: Bus, snapshots: Snapshots, recordings: RuleRecordings) -> None:
        self._bus, self._snapshots, self._recordings = bus, snapshots, recordings

    async def do(self, planned: Planned, event: Event) -> Deed:
        """One action; what fails is told, and never raised."""
        action, first = planned.action, planned.commands[0]
        if first.error is not None:
            return Deed(command=first.command, error=first.error)
        file = ""
        try:
            if action.snapshot is not None:
                file = await self._snapshots.keep(await self._ask(first, TakenPicture))
            elif action.record is not None:
                request = msgspec.convert(first.given, StartRecording)
                await self._recordings.begin(request, end_of_recording(action, event))
            else:
                await self._ask(first, Any)
        except MeshError as error:
            return Deed(command=first.command, error=error.info)
        except Exception:  # a bug in one action: told as its error, the others are done
            log.exception("%s of a rule failed", first.command)
            return Deed(command=first.command, error=InternalError("internal error; see the service's log").info)
        return Deed(command=first.command, file=file)

    async def _ask(self, planned: PlannedCommand, reply: Any) -> Any:
        """Raises: MeshError: the service's own; Unavailable when nobody answers."""
        wait_s = planned.given.get("wait_s", 0.0)
        waits = isinstance(wait_s, int | float) and 0 <= wait_s <= _MAX_WAIT_SECONDS
        timeout_seconds = (float(wait_s) if waits else 0.0) + _REPLY_SECONDS
        subject = f"{PREFIX}.cmd.{planned.command}"
        try:
            request = msgspec.json.encode(planned.given)
        except (OverflowError, TypeError) as error:  # a number of an event that is none of 64 bits
            raise InvalidValue("given", tuple(planned.given), f"give what JSON can say ({error})") from None
        data = await self._bus.request_raw(subject, request, timeout_seconds)
        try:
            return msgspec.json.decode(data, type=reply) if reply is not Any else None
        except msgspec.DecodeError as error:
            raise InternalError(f"unreadable reply from {subject}: {error}") from None
