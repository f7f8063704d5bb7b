"""What the spec of an output is held against before it is written."""

from typing import Final

from schemas.errors import InvalidValue
from schemas.signal_resources import SignalSpec
from schemas.units import parse_duration
from services.io_signal.patterns import compile_pattern
from services.io_signal.signals.addresses import ModbusAddress, output_address

# Seconds: shortest and longest.
_TIMEOUT: Final = (0.01, 3.0)  # a safe state waits for one try at most, and the end of the service for one of each
_KEEP: Final = (0.001, 86_400.0)
_BUS_LOST: Final = (1.0, 86_400.0)  # the hand hears every 0.4 s that the bus is there
_MOST_STREAMS: Final = 64  # each is followed, for the times of its pictures
_TEXT_MODES: Final = ("io", "tcp", "uart")
_REPLY_MODES: Final = ("tcp", "uart")


def check_signal(spec: SignalSpec) -> None:
    """Refuse what can never work, without any I/O.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    address = output_address(spec.mode, spec.address)
    coil = isinstance(address, ModbusAddress) and address.table == "coil"
    register = isinstance(address, ModbusAddress) and address.table == "register"
    _check_duration("timeout", spec.timeout, _TIMEOUT)
    _check_duration("bus_lost", spec.bus_lost, _BUS_LOST)
    if spec.keep is not None:
        _check_duration("keep", spec.keep, _KEEP)
    for name in ("on_text", "off_text"):
        if getattr(spec, name) is not None and spec.mode not in _TEXT_MODES:
            raise InvalidValue(name, getattr(spec, name), f"leave it out; {spec.mode} takes no text")
    if spec.reply is not None:
        if spec.mode not in _REPLY_MODES:
            raise InvalidValue("reply", spec.reply, f"leave it out; {spec.mode} gives no answer in text")
        compile_pattern(spec.reply, "reply")
    if spec.polarity != "active-high":
        if not (spec.mode in ("io", "gpio") or coil):
            raise InvalidValue("polarity", spec.polarity, "leave it out; only io, gpio and coils have one")
        if spec.on_text is not None or spec.off_text is not None:
            raise InvalidValue("polarity", spec.polarity, "leave it out; on_text and off_text say it all")
    for name, default in (("on_value", 1), ("off_value", 0)):
        if getattr(spec, name) != default and not register:
            raise InvalidValue(name, getattr(spec, name), "leave it out; only a register has a value")
    if register and spec.on_value == spec.off_value:
        raise InvalidValue("on_value", spec.on_value, "give another than off_value")
    if len(spec.streams) > _MOST_STREAMS:
        raise InvalidValue("streams", len(spec.streams), f"name {_MOST_STREAMS} at most")
    if len(set(spec.streams)) != len(spec.streams):
        raise InvalidValue("streams", spec.streams, "name each stream once")


def _check_duration(field: str, text: str, bounds: tuple[float, float]) -> None:
    least, most = bounds
    if not least <= parse_duration(text, field) <= most:
        raise InvalidValue(field, text, f"use {least:g}s to {most:g}s")
