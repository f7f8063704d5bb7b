"""Commands as an application gives them: any by name, the usual ones typed."""

from typing import Any, Final, TypeVar

import msgspec

from schemas.commands import (
    DEFAULT_WAIT_SECONDS,
    KeyFrameReply,
    KeyFrameRequest,
    OutputChanged,
    RenditionChanged,
    StartOutput,
    StartRendition,
    StartStream,
    StopOutput,
    StopRendition,
    StopStream,
    StreamChanged,
)
from schemas.errors import BadRequest, InvalidValue
from schemas.ids import compound_id
from schemas.subjects import command
from shared.bus import Bus

Reply = TypeVar("Reply")
Request = TypeVar("Request", bound=msgspec.Struct)

_REPLY_MARGIN_SECONDS: Final = 5.0  # the reply of a command that waits for the owner comes this much later at most


class Commands:
    """Every method raises the service's own typed error (`schemas.errors`), or `Unavailable` when nobody answers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    @property
    def bus(self) -> Bus:
        """What this connection is made of; it ends with it."""
        return self._bus

    async def call(self, name: str, /, **request: Any) -> dict[str, Any]:
        """Give a command: `await mesh.call("capture.start", stream="cam0", source="rtsp://…")`; its reply as a dict.

        Raises:
            InvalidValue: no such form of a name.
        """
        service, dot, verb = name.partition(".")
        resource, more, last = verb.partition(".")
        if not dot:
            raise InvalidValue("command", name, "write <service>.<verb> or <service>.<id>.<verb>")
        subject = command(service, last, resource) if more else command(service, verb)
        wait_s = request.get("wait_s", DEFAULT_WAIT_SECONDS)
        timeout = (wait_s if isinstance(wait_s, int | float) else 0) + _REPLY_MARGIN_SECONDS
        try:
            data = msgspec.json.encode(request)
        except (TypeError, msgspec.MsgspecError) as error:
            raise BadRequest(f"{name}: {error}") from None
        reply: dict[str, Any] = msgspec.json.decode(await self._bus.request_raw(subject, data, timeout))
        return reply

    async def start_stream(self, stream: str, source: str, **fields: Any) -> StreamChanged:
        """Make or change a stream; `fields` are those of `schemas.commands.StartStream`."""
        return await self._give(
            "capture", "start", _made(StartStream, stream=stream, source=source, **fields), StreamChanged
        )

    async def stop_stream(self, stream: str, **fields: Any) -> StreamChanged:
        """Remove a stream."""
        return await self._give("capture", "stop", _made(StopStream, stream=stream, **fields), StreamChanged)

    async def start_rendition(self, stream: str, rendition: str = "main", **fields: Any) -> RenditionChanged:
        """Make or change an encoding; `fields` are those of `schemas.commands.StartRendition`."""
        request = _made(StartRendition, stream=stream, rendition=rendition, **fields)
        return await self._give("hw-encode", "start", request, RenditionChanged)

    async def stop_rendition(self, stream: str, rendition: str = "main", **fields: Any) -> RenditionChanged:
        """Remove an encoding; `main` stays available on demand."""
        request = _made(StopRendition, stream=stream, rendition=rendition, **fields)
        return await self._give("hw-encode", "stop", request, RenditionChanged)

    async def start_output(self, stream: str, output: str, to: str, **fields: Any) -> OutputChanged:
        """Record or push a rendition; `fields` are those of `schemas.commands.StartOutput`."""
        request = _made(StartOutput, stream=stream, output=output, to=to, **fields)
        return await self._give("publisher", "start", request, OutputChanged)

    async def stop_output(self, stream: str, output: str, **fields: Any) -> OutputChanged:
        """End an output; files are closed properly."""
        request = _made(StopOutput, stream=stream, output=output, **fields)
        return await self._give("publisher", "stop", request, OutputChanged)

    async def key_frame(self, stream: str, rendition: str = "main", reason: str = "") -> KeyFrameReply:
        """Make the rendition's next picture an IDR."""
        subject = command("hw-encode", "keyframe", compound_id(stream, rendition))
        return await self._bus.request(subject, KeyFrameRequest(reason=reason), KeyFrameReply)

    async def _give(self, service: str, verb: str, request: msgspec.Struct, reply: type[Reply]) -> Reply:
        timeout = getattr(request, "wait_s", 0.0) + _REPLY_MARGIN_SECONDS
        return await self._bus.request(command(service, verb), request, reply, timeout)


def _made(kind: type[Request], **fields: Any) -> Request:
    """The request, checked before it is sent: the error names the field."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{kind.__name__}: {str(error).replace('`$.', '`')}") from None
