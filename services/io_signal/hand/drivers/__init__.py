"""One module for each mode of signals and inputs; imported when the first device of its mode is there."""

from importlib import import_module
from typing import Any, Final

from schemas.signal_resources import InputSpec, SignalSpec
from services.io_signal.hand.drivers.base import DeviceError, InputDriver, Limits, OutputDriver

# Module and class. Each is made with a spec and the limits.
_OUTPUTS: Final = {
    "io": ("control_file", "ControlFileOutput"),
    "tcp": ("tcp", "TcpOutput"),
    "modbus": ("modbus", "ModbusOutput"),
    "uart": ("uart", "UartOutput"),
    "gpio": ("gpio", "GpioOutput"),
}
_INPUTS: Final = {
    "tcp": ("tcp_input", "TcpInput"),
    "modbus": ("modbus", "ModbusInput"),
    "uart": ("uart", "UartInput"),
    "gpio": ("gpio", "GpioInput"),
}


def output(spec: SignalSpec, limits: Limits) -> OutputDriver:
    """Raises:
    InvalidValue: its address can never work.
    DeviceError: what its mode needs is not installed.
    """
    made: OutputDriver = _load(spec.mode, *_OUTPUTS[spec.mode])(spec, limits)
    return made


def input(spec: InputSpec, limits: Limits) -> InputDriver:  # read as `drivers.input`
    """Raises as `output`."""
    made: InputDriver = _load(spec.mode, *_INPUTS[spec.mode])(spec, limits)
    return made


def load(mode: str) -> None:
    """Import what a mode needs; any thread may. Raises as `output`."""
    _load(mode, _OUTPUTS[mode][0], "")


def _load(mode: str, module: str, kind: str) -> Any:
    try:
        found = import_module(f"{__name__}.{module}")
    except ImportError as error:
        fix = "pip install 'framemesh[gpio]'" if mode == "gpio" else "pip install 'framemesh[io-signal]'"
        raise DeviceError(f"mode {mode} needs {error.name}, which is not installed; {fix}") from None
    return getattr(found, kind) if kind else None
