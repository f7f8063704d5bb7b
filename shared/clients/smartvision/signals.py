"""Signals to the machine: they are commands of io-signal, which is not a part of this mesh yet.

Until it answers, each of these logs one line and returns -1.
"""

from dataclasses import dataclass
from typing import Any

from schemas.errors import InvalidValue
from shared.clients.smartvision.connection import answers, ask, minus_one


@dataclass
class TcpConfig:
    """Where signals go by TCP."""

    ip: str = ""
    port: int = 0


@answers(minus_one)
def set_off_mode() -> int:
    """Give no signals, by `io-signal.off-mode`. 0, or -1."""
    return _give("off-mode")


@answers(minus_one)
def get_tcp_setting(cam_id: int, tcp_setting: TcpConfig) -> int:
    """Fill in where the signals of a camera go, by `io-signal.tcp-setting`. 0, or -1 and nothing is filled in."""
    found = ask("io-signal.tcp-setting", dict[str, Any], camera=cam_id)
    tcp_setting.ip, tcp_setting.port = str(found["ip"]), int(found["port"])
    return 0


@answers(minus_one)
def tcp_send_signal(cam_id: int, message: str) -> int:
    """Send a text to where the signals of a camera go, by `io-signal.tcp-send`. 0, or -1."""
    return _give("tcp-send", camera=cam_id, message=message)


@answers(minus_one)
def tcp_send(message: str, tcp_setting: TcpConfig) -> int:
    """Send a text to a host, by `io-signal.tcp-send`. 0, or -1."""
    return _give("tcp-send", host=tcp_setting.ip, port=tcp_setting.port, message=message)


@answers(minus_one)
def io_send(io_str: str, io_control_file: str) -> int:
    """Write a text to a file of a device, by `io-signal.io-send`: by the service, in the folders it is allowed. 0, or
    -1."""
    return _give("io-send", text=io_str, file=io_control_file)


@answers(minus_one)
def send_signal_on(device_id: int, keeptime: int | None = None) -> int:
    """Set an output, by `io-signal.on`: 1 is `do1`. 0, or -1.

    Args:
        keeptime: milliseconds until it is cleared; None: as the output is set up.
    """
    return _give("on", signal=_output(device_id), **({} if keeptime is None else {"keep_ms": keeptime}))


@answers(minus_one)
def send_signal_off(device_id: int) -> int:
    """Clear an output, by `io-signal.off`: 1 is `do1`. 0, or -1."""
    return _give("off", signal=_output(device_id))


def _output(device_id: int) -> str:
    if isinstance(device_id, bool) or not isinstance(device_id, int) or device_id < 0:
        raise InvalidValue("device_id", device_id, "give the number of an output: 1 is do1")
    return f"do{device_id}"


def _give(verb: str, **request: Any) -> int:
    ask(f"io-signal.{verb}", dict[str, Any], **request)
    return 0
