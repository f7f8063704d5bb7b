"""What the spec of an input is held against before it is written."""

from schemas.errors import InvalidValue
from schemas.signal_resources import InputSpec
from schemas.units import parse_duration
from services.io_signal.patterns import compile_pattern
from services.io_signal.signals.addresses import input_address

_SHORTEST_POLL_SECONDS = 0.001
_LONGEST_POLL_SECONDS = 3_600.0
_LONGEST_DEBOUNCE_SECONDS = 60.0


def check_input(spec: InputSpec) -> None:
    """Refuse what can never work, without any I/O.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    input_address(spec.mode, spec.address)
    if spec.mode in ("gpio", "modbus") and spec.value == "text":
        raise InvalidValue("value", spec.value, f"{spec.mode} delivers no text; use level or number")
    if spec.debounce is not None:
        if spec.value != "level":
            raise InvalidValue("debounce", spec.debounce, "leave it out; only a level lasts")
        _check_duration("debounce", spec.debounce, 0.0, _LONGEST_DEBOUNCE_SECONDS)
    if spec.mode == "modbus":
        _check_duration("poll", spec.poll, _SHORTEST_POLL_SECONDS, _LONGEST_POLL_SECONDS)
    if spec.pattern is not None:
        if spec.mode not in ("tcp", "uart"):
            raise InvalidValue("pattern", spec.pattern, f"leave it out; {spec.mode} delivers no lines")
        compile_pattern(spec.pattern, "pattern")
    if spec.edge != "both" and spec.value != "level":
        raise InvalidValue("edge", spec.edge, "leave it out; only a level has edges")
    if spec.polarity != "active-high" and spec.value != "level":
        raise InvalidValue("polarity", spec.polarity, "leave it out; only a level has a polarity")
    if spec.pull != "none" and spec.mode != "gpio":
        raise InvalidValue("pull", spec.pull, "leave it out; only a line of gpio can be pulled")
    if spec.attach is not None and spec.stream is None:
        raise InvalidValue("attach", spec.attach, "name the stream, too, whose pictures shall have the value")


def _check_duration(field: str, text: str, least: float, most: float) -> None:
    seconds = parse_duration(text, field)
    if not least <= seconds <= most:
        raise InvalidValue(field, text, f"from {least:g} s to {most:g} s")
