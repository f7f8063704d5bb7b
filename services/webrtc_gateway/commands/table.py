"""The commands that may be given over HTTP: those of the channel table, and what each needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from schemas import subjects
from schemas.channel import Channel
from schemas.channels import CHANNELS
from schemas.commands import OutputList, RenditionList, StreamList
from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.ids import COMPOUND_SEPARATOR
from schemas.layers import PublisherList
from schemas.mix_resources import MixEntry
from schemas.mixes import MixList
from schemas.recordings import ListRecordings, RecordedFiles
from schemas.samples import SampleList
from schemas.sessions import SessionList
from schemas.sora import ChannelList
from schemas.tokens import Action
from services.webrtc_gateway.auth.grant import EVERYTHING, Grant
from services.webrtc_gateway.auth.visible import covers_mix
from services.webrtc_gateway.sora.names import rights_name

# Replies that tell of many streams, and where: with a token for some of them the others are left out.
_LISTS: Mapping[type[Any], str] = MappingProxyType(
    {
        StreamList: "streams",
        RenditionList: "renditions",
        OutputList: "outputs",
        SessionList: "sessions",
        ChannelList: "channels",
        PublisherList: "publishers",
        RecordedFiles: "files",
        SampleList: "samples",
        MixList: "mixes",
    }
)
# Its outputs are of machines and belong to no stream, though requests may name one: rights for that are not enough.
_OF_MACHINES = "io-signal"
_NAME_CHARACTERS = 128  # as `schemas.signals.Who`
# The party of the table that only looks: what it may call changes nothing.
_LOOKER = "console"


@dataclass(frozen=True)
class Command:
    """One command of the public contract."""

    channel: Channel
    service: str
    verb: str

    @property
    def action(self) -> Action:
        return "view" if _LOOKER in self.channel.senders else "control"

    def subject(self, resource: str | None) -> str:
        """Where it goes on the bus.

        Raises:
            InvalidValue: `resource` is missing, malformed, or more than this command takes.
        """
        wanted = COMPOUND_SEPARATOR.join(f"<{name}>" for name in self.channel.parameters)
        if bool(wanted) != bool(resource):
            path = f"/api/cmd/{self.channel.name}" + (f"/{wanted}" if wanted else "")
            raise InvalidValue("resource", resource or "", f"POST to {path}")
        subject = subjects.command(self.service, self.verb, resource)
        if not self.channel.matches(subject) or (COMPOUND_SEPARATOR in wanted) != (
            COMPOUND_SEPARATOR in (resource or "")
        ):
            raise InvalidValue("resource", resource or "", f"give {wanted}")
        return subject

    def read(self, body: bytes) -> Any:
        """The request; empty is `{}`.

        Raises:
            BadRequest: not JSON, or not what this command takes; names the path.
        """
        assert self.channel.payload is not None
        try:
            request: Struct = msgspec.json.decode(body.strip() or b"{}", type=self.channel.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"{self.channel.name}: {error}") from None
        return request

    def streams(self, resource: str | None, request: Any) -> tuple[str, ...]:
        """Every stream that the request names; empty: it is about no stream, or about all."""
        if self.service == _OF_MACHINES:
            return ()
        named = {getattr(request, "stream", None), getattr(getattr(request, "frame", None), "stream", None)}
        if (channel := getattr(request, "channel", None)) is not None:
            named.add(rights_name(channel))
        if resource and "stream" in self.channel.parameters:
            named.add(resource.partition(COMPOUND_SEPARATOR)[0])
        return tuple(sorted(name for name in named if name))

    @property
    def is_list(self) -> bool:
        return self.channel.reply in _LISTS

    def narrowed(self, request: Any, grant: Grant) -> Any:
        """The request as it is sent: what has a limit is asked for the asker's streams only, for what is left out of
        the reply would count; and who commands a machine is who the token says."""
        if self.service == _OF_MACHINES and hasattr(request, "by") and grant is not EVERYTHING:
            return msgspec.structs.replace(request, by=grant.name[:_NAME_CHARACTERS])
        if isinstance(request, ListRecordings) and not grant.sees_all and not request.stream and not request.streams:
            return msgspec.structs.replace(request, streams=grant.streams)
        return request

    def visible(self, reply: bytes, grant: Grant) -> bytes:
        """The reply of a list without the streams that are none of the asker's business."""
        if grant.sees_all or not self.is_list or self.channel.reply is None:
            return reply
        field = _LISTS[self.channel.reply]
        listed = msgspec.json.decode(reply, type=self.channel.reply)
        kept = tuple(entry for entry in getattr(listed, field) if _covers(grant, entry))
        return msgspec.json.encode(msgspec.structs.replace(listed, **{field: kept}))


def _covers(grant: Grant, entry: Any) -> bool:
    if isinstance(entry, MixEntry):
        return covers_mix(grant, entry.spec)
    return grant.covers(str(entry.spec.stream if hasattr(entry, "spec") else entry.stream))


def _commands() -> dict[str, Command]:
    found = {}
    for channel in CHANNELS:
        if channel.semantics == "request-reply" and "cli" in channel.senders:
            service, verb = channel.name.partition(".")[0], channel.address.rpartition(".")[2]
            found[channel.name] = Command(channel, service, verb)
    return found


COMMANDS: Mapping[str, Command] = MappingProxyType(_commands())


def find_command(name: str) -> Command:
    """Raises: NotFound: there is no such command."""
    command = COMMANDS.get(name)
    if command is None:
        raise NotFound(f"no command {name[:80]!r}; there are: {', '.join(COMMANDS)}")
    return command
