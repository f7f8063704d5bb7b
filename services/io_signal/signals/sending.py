"""Texts to devices that are no change of an output: to where a camera's signals go, to a host, into a control file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from schemas.errors import BadRequest, InvalidValue, NotFound
from schemas.ids import check_id
from schemas.signals import GetTcpSetting, IoSent, SendIo, SendTcp, TcpSent, TcpSetting
from schemas.subjects import command
from services.io_signal.hand.protocol import Send, WriteFile
from services.io_signal.patterns import compile_pattern
from services.io_signal.signals.addresses import TcpAddress, file_address, output_address
from services.io_signal.signals.commands import ask_owner
from services.io_signal.signals.parts import SERVICE, SignalParts
from shared.bus import Endpoint

if TYPE_CHECKING:
    from services.io_signal.signals.runner import SignalRunner

_REPLY_SECONDS: Final = 12.0


class Sending:
    def __init__(self, parts: SignalParts, runners: "Mapping[str, SignalRunner]") -> None:
        self._parts, self._runners, self._node = parts, runners, parts.context.node

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "tcp-setting"), GetTcpSetting, TcpSetting, self.tcp_setting),
            Endpoint(command(SERVICE, "tcp-send"), SendTcp, TcpSent, self.tcp_send),
            Endpoint(command(SERVICE, "io-send"), SendIo, IoSent, self.io_send),
            Endpoint(command(SERVICE, "local-io-send", self._node), SendIo, IoSent, self.local_io_send),
        ]

    async def tcp_setting(self, request: GetTcpSetting) -> TcpSetting:
        """Where the signals of a camera go.

        Raises:
            BadRequest: neither a stream nor a camera is given, or both.
            NotFound: it has no signal of mode tcp.
        """
        signal, address = self._of_camera(_stream_of(request.stream, request.camera))
        return TcpSetting(ip=address.host, port=address.port, signal=signal)

    async def tcp_send(self, request: SendTcp) -> TcpSent:
        """A text to a device.

        Raises:
            BadRequest: not exactly one place is given.
            NotFound: it is not there.
            Unavailable: it does not take it, or its answer does not match.
        """
        places = (request.signal, request.stream, request.camera, request.host)
        if sum(place is not None for place in places) != 1:
            raise BadRequest("give one of signal, stream, camera, and host with port")
        if request.reply is not None:
            compile_pattern(request.reply, "reply")
        if request.host is not None:
            return await self._to_host(request, request.host)
        signal = request.signal
        if signal is None:
            signal, _ = self._of_camera(_stream_of(request.stream, request.camera))
        runner = self._runners.get(signal)
        if runner is not None:
            return await runner.send(request)
        passed_on = msgspec.structs.replace(request, signal=signal, stream=None, camera=None)
        return await ask_owner(self._parts, signal, "tcp-send", passed_on, TcpSent)

    async def io_send(self, request: SendIo) -> IoSent:
        """A text into a control file.

        Raises:
            InvalidValue: no path of a file.
            BadRequest: the file is not under a folder that is allowed.
            Unavailable: it cannot be written.
        """
        file_address(request.file)
        if request.node not in (None, self._node):
            subject = command(SERVICE, "local-io-send", check_id(request.node or "", "node"))
            return await self._parts.context.bus.request(subject, request, IoSent, _REPLY_SECONDS)
        return await self.local_io_send(request)

    async def local_io_send(self, request: SendIo) -> IoSent:
        """The same, on this node."""
        file = file_address(request.file).path
        done = await self._parts.link.ask(lambda number: WriteFile(number=number, file=file, text=request.text))
        detail = {"file": file, "by": request.by, "why": request.why, "written_ns": done.edge_ns}
        self._parts.audit.post(self._node, "sent", detail)
        return IoSent(written_ns=done.edge_ns)

    async def _to_host(self, request: SendTcp, host: str) -> TcpSent:
        if request.port is None:
            raise BadRequest("port missing: give host and port")
        bracketed = f"[{host}]" if ":" in host else host
        try:
            address = output_address("tcp", f"tcp://{bracketed}:{request.port}", "host")
        except InvalidValue as error:
            raise InvalidValue("host", host, "give a name or an address") from error
        assert isinstance(address, TcpAddress)  # of this mode
        done = await self._parts.link.ask(
            lambda number: Send(
                number=number, text=request.message, host=address.host, port=address.port, reply=request.reply
            )
        )
        detail = {
            "to": str(address),
            "by": request.by,
            "why": request.why,
            "characters": len(request.message),
            "sent_ns": done.edge_ns,
        }
        self._parts.audit.post(self._node, "sent", detail)
        return TcpSent(sent_ns=done.edge_ns, reply=done.reply)

    def _of_camera(self, stream: str) -> tuple[str, TcpAddress]:
        for name, spec, _, _ in self._parts.signals.all():
            if spec.mode == "tcp" and stream in spec.streams:
                address = output_address(spec.mode, spec.address)
                assert isinstance(address, TcpAddress)  # of this mode
                return name, address
        fix = f'start one with mode "tcp" and {stream!r} among its streams'
        raise NotFound(f"stream {stream!r} has no signal of mode tcp; {fix}")


def _stream_of(stream: str | None, camera: int | None) -> str:
    """Raises:
    BadRequest: not exactly one is given.
    """
    if (stream is None) == (camera is None):
        raise BadRequest("give a stream, or a camera: 0 is cam0")
    return stream if stream is not None else f"cam{camera}"
