"""How people write signals, inputs and rules in mesh.yaml."""

from typing import Any, Final

from schemas.errors import BadRequest, InvalidValue
from schemas.file_entry import read_entry
from schemas.rule_checks import check_rule
from schemas.signal_resources import SignalMode
from schemas.signals import StartInput, StartRule, StartSignal
from schemas.units import parse_duration

_MODE_OF_SCHEME: Final[dict[str, SignalMode]] = {"file": "io", "gpio": "gpio", "rtu": "modbus", "uart": "uart"}
# YAML 1.1 takes `on` and `off` for true and false, as values and as names.
_SWITCH: Final = {True: "on", False: "off"}


def signal_from_mapping(name: str, raw: Any, path: str) -> StartSignal:
    """The output that an entry stands for: its fields, or its address alone.

    Raises:
        BadRequest: names the path of the offending field and the fix.
    """
    given = _fields(raw, path)
    for key in ("safe", "initial"):
        if isinstance(given.get(key), bool):
            given[key] = _SWITCH[given[key]]
    start = read_entry({"signal": name, **given}, StartSignal, path)
    _check_durations(start, ("keep", "timeout", "bus_lost"), path)
    return start


def input_from_mapping(name: str, raw: Any, path: str) -> StartInput:
    """The input that an entry stands for, as `signal_from_mapping`."""
    start = read_entry({"input": name, **_fields(raw, path)}, StartInput, path)
    _check_durations(start, ("debounce", "poll"), path)
    if start.attach is not None and start.stream is None:
        raise InvalidValue(f"{path}.attach", start.attach, "name the stream, too: stream: cam0")
    return start


def rule_from_mapping(name: str, raw: Any, path: str) -> StartRule:
    """The rule that an entry stands for.

    Raises:
        BadRequest: names the path of the offending field and the fix.
    """
    if not isinstance(raw, dict):
        raise BadRequest(f"{path}: write a mapping, for example {{when: io-signal.di1.edge, do: [{{signal: do1}}]}}")
    given = _switched(raw)
    if isinstance(given.get("do"), dict):
        given["do"] = [given["do"]]
    start = read_entry({**given, "rule": name}, StartRule, path)
    check_rule(start, f"{path}.")
    return start


def mode_of(address: str) -> SignalMode:
    """The mode that an address alone stands for: of tcp:// with a unit behind it Modbus, else a line of text."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme == "tcp":
        return "modbus" if rest.partition("/")[2] else "tcp"
    if scheme not in _MODE_OF_SCHEME:
        raise InvalidValue("address", address, "write file://, gpio://, tcp://, rtu:// or uart://, or say mode, too")
    return _MODE_OF_SCHEME[scheme]


def _fields(raw: Any, path: str) -> dict[str, Any]:
    if isinstance(raw, str):
        raw = {"address": raw}
    if not isinstance(raw, dict):
        raise BadRequest(f"{path}: write an address, or a mapping with mode and address")
    given = dict(raw)
    if "mode" not in given and isinstance(given.get("address"), str):
        try:
            given["mode"] = mode_of(given["address"])
        except InvalidValue as error:
            raise InvalidValue(f"{path}.address", error.value, error.fix) from None
    return given


def _switched(value: Any) -> Any:
    """With `on` for the name that YAML has made true of."""
    if isinstance(value, dict):
        return {_SWITCH[key] if isinstance(key, bool) else key: _switched(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_switched(item) for item in value]
    return value


def _check_durations(start: Any, names: tuple[str, ...], path: str) -> None:
    for name in names:
        if (text := getattr(start, name)) is not None:
            parse_duration(text, f"{path}.{name}")
