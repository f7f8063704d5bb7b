"""Signals to the machine: they are commands of io-signal.

Device 1 is the output `do1` of the mesh, whatever it is connected by. Where the signals of a camera go says the output
of mode tcp that has the camera's stream among its `streams`. Each of these waits until the device has it.
"""

from dataclasses import dataclass
from typing import Any, Final

from schemas.errors import InvalidValue
from schemas.signals import IoSent, OffModeReply, SignalSet, TcpSent, TcpSetting
from shared.clients.smartvision.connection import answers, ask, minus_one
from shared.clients.smartvision.inventory import stream_name

_BY: Final = "smartvision"
"""Who commands it, as its event tells."""


@dataclass
class TcpConfig:
    """Where signals go by TCP."""

    ip: str = ""
    port: int = 0


@answers(minus_one)
def set_off_mode() -> int:
    """Give no signals: all outputs go to their safe state, by `io-signal.off-mode`, and none is set until
    `framemesh signal off-mode off`. 0, or -1."""
    ask("io-signal.off-mode", OffModeReply, active=True, by=_BY)
    return 0


@answers(minus_one)
def get_tcp_setting(cam_id: int, tcp_setting: TcpConfig) -> int:
    """Fill in where the signals of a camera go, by `io-signal.tcp-setting`. 0, or -1 and nothing is filled in."""
    found = ask("io-signal.tcp-setting", TcpSetting, stream=stream_name(cam_id))
    tcp_setting.ip, tcp_setting.port = found.ip, found.port
    return 0


@answers(minus_one)
def tcp_send_signal(cam_id: int, message: str) -> int:
    """Send a text to where the signals of a camera go, by `io-signal.tcp-send`. 0, or -1."""
    ask("io-signal.tcp-send", TcpSent, stream=stream_name(cam_id), message=message, by=_BY)
    return 0


@answers(minus_one)
def tcp_send(message: str, tcp_setting: TcpConfig) -> int:
    """Send a text to a host that io-signal may talk to, by `io-signal.tcp-send`. 0, or -1."""
    ask("io-signal.tcp-send", TcpSent, host=tcp_setting.ip, port=tcp_setting.port, message=message, by=_BY)
    return 0


@answers(minus_one)
def io_send(io_str: str, io_control_file: str) -> int:
    """Write a text to a file of a device, by `io-signal.io-send`: by the service, in the folders it is allowed. 0, or
    -1."""
    ask("io-signal.io-send", IoSent, text=io_str, file=io_control_file, by=_BY)
    return 0


@answers(minus_one)
def send_signal_on(device_id: int, keeptime: int | None = None) -> int:
    """Set an output, by `io-signal.on`: 1 is `do1`. 0, or -1.

    Args:
        keeptime: milliseconds until it is cleared, by the service; None: as the output is set up.
    """
    request: dict[str, Any] = {"signal": _output(device_id), "by": _BY}
    if keeptime is not None:
        if isinstance(keeptime, bool) or not isinstance(keeptime, int) or keeptime < 1:
            raise InvalidValue("keeptime", keeptime, "give milliseconds from 1 on, or leave it out")
        request["keep_ms"] = keeptime
    ask("io-signal.on", SignalSet, **request)
    return 0


@answers(minus_one)
def send_signal_off(device_id: int) -> int:
    """Clear an output, by `io-signal.off`: 1 is `do1`. 0, or -1."""
    ask("io-signal.off", SignalSet, signal=_output(device_id), by=_BY)
    return 0


def _output(device_id: int) -> str:
    if isinstance(device_id, bool) or not isinstance(device_id, int) or device_id < 0:
        raise InvalidValue("device_id", device_id, "give the number of an output: 1 is do1")
    return f"do{device_id}"
