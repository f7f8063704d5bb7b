"""Where outputs and inputs are: the forms of `SignalSpec.address` and `InputSpec.address`."""

import re
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, assert_never
from urllib.parse import unquote

from schemas.errors import InvalidValue
from schemas.signal_resources import InputMode, SignalMode
from services.io_signal.signals.address_options import (
    NumberType,
    Options,
    SerialOptions,
    take_modbus_serial,
    take_number_type,
    take_serial,
)
from shared.urls import redact

Table = Literal["coil", "discrete", "register", "input-register"]

MODBUS_PORT: Final = 502  # registered for Modbus/TCP
_FIELD = "address"
_LONGEST_CHARACTERS = 1_024
_LAST_PORT = 65_535
_LAST_NUMBER = 65_535  # of a coil or register: 16 bits on the wire
_LAST_LINE = 4_095  # no chip has as many
_TCP_UNITS = range(256)  # 0 and 255 mean the device itself, where it is no gateway
_RTU_UNITS = range(1, 248)  # 0 is for all devices, and none of them answers
_WRITABLE: Final[tuple[Table, ...]] = ("coil", "register")
_READABLE: Final[tuple[Table, ...]] = (*_WRITABLE, "discrete", "input-register")
_NUMBERS: Final[tuple[Table, ...]] = ("register", "input-register")

_PRINTABLE = re.compile(r"[!-~]+")
_HOST = r"(?P<host>\[[0-9a-fA-F:.%a-zA-Z]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
_TCP = re.compile(rf"tcp://{_HOST}:(?P<port>[0-9]{{1,5}})")
_DEVICE = r"(?P<device>/[A-Za-z0-9_.:+@,=-]+(/[A-Za-z0-9_.:+@,=-]+)*)"
_PLACE = r"/(?P<unit>[0-9]{1,3})/(?P<table>[a-z-]+)/(?P<number>[0-9]{1,5})"
_MODBUS_TCP = re.compile(rf"tcp://{_HOST}(:(?P<port>[0-9]{{1,5}}))?{_PLACE}")
_MODBUS_RTU = re.compile(rf"rtu://{_DEVICE}{_PLACE}")
_UART = re.compile(rf"uart://{_DEVICE}")
_GPIO = re.compile(r"gpio://(?P<chip>gpiochip[A-Za-z0-9_-]{1,56})/(?P<line>[0-9]{1,4})")
_FILE = re.compile(r"file://(?P<path>/[^?#]*)")

_FILE_FIX = "write file:///PATH, for example file:///run/io/do1"
_GPIO_FIX = "write gpio://CHIP/LINE, for example gpio://gpiochip0/17"
_TCP_FIX = "write tcp://HOST:PORT, for example tcp://10.0.0.5:9000"
_UART_FIX = "write uart:///DEVICE, for example uart:///dev/ttyS1?baud=115200&parity=none&stop=1"
_MODBUS_FIX = (
    "write tcp://HOST[:PORT]/UNIT/TABLE/NUMBER or rtu:///DEVICE/UNIT/TABLE/NUMBER, "
    "for example tcp://plc:502/1/coil/3 or rtu:///dev/ttyUSB0/1/register/40?baud=19200"
)


@dataclass(frozen=True, slots=True)
class FileAddress:
    """A control file: an absolute path. Whether its folder is allowed is checked where it is opened."""

    path: str


@dataclass(frozen=True, slots=True)
class GpioAddress:
    """A line of a GPIO chip, `/dev/<chip>`."""

    chip: str
    line: int


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host, an IPv6 address without its brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SerialAddress:
    """A serial device and how its line is set: two that are equal are one line."""

    device: str
    options: SerialOptions

    def __str__(self) -> str:
        return self.device


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """A coil or register of a unit behind a device: those with an equal `device` share one connection."""

    device: TcpAddress | SerialAddress
    unit: int
    table: Table
    number: int
    """From 0, as on the wire: register 40 is 40041 in the books of some makers."""
    type: NumberType = "uint16"
    """Of a register that is read."""
    low_word_first: bool = False
    """Of a number of two registers."""

    @property
    def count(self) -> int:
        """How many coils or registers it takes."""
        return 2 if self.type.endswith("32") else 1


OutputAddress = FileAddress | GpioAddress | TcpAddress | ModbusAddress | SerialAddress
InputAddress = GpioAddress | TcpAddress | ModbusAddress | SerialAddress


def output_address(mode: SignalMode, text: str, field: str = _FIELD) -> OutputAddress:
    """Where an output is.

    Raises:
        InvalidValue: not an address of this mode; names the field, the value and the fix.
    """
    if mode == "io":
        return _file(text, field)
    if mode == "modbus":
        return _modbus(text, field, writes=True)
    return _either(mode, text, field)


def input_address(mode: InputMode, text: str, field: str = _FIELD) -> InputAddress:
    """Where an input is; of `tcp` where to listen, and its port may be 0: any free one.

    Raises:
        InvalidValue: not an address of this mode; names the field, the value and the fix.
    """
    if mode == "modbus":
        return _modbus(text, field, writes=False)
    if mode == "tcp":
        return _tcp(_Read(text, field, _TCP, _TCP_FIX), first_port=0)
    return _either(mode, text, field)


def file_address(text: str, field: str = "file") -> FileAddress:
    """A control file, as file:///PATH or as a path alone.

    Raises:
        InvalidValue: neither, or not absolute.
    """
    return _file(f"file://{text}" if text.startswith("/") else text, field)


def _either(mode: Literal["gpio", "tcp", "uart"], text: str, field: str) -> GpioAddress | TcpAddress | SerialAddress:
    match mode:
        case "gpio":
            return _gpio(_Read(text, field, _GPIO, _GPIO_FIX))
        case "tcp":
            return _tcp(_Read(text, field, _TCP, _TCP_FIX), first_port=1)
        case "uart":
            return _uart(_Read(text, field, _UART, _UART_FIX))
        case _:
            assert_never(mode)


class _Read:
    """An address against its form: what is not of that form is refused, in whatever way it is wrong."""

    def __init__(self, text: str, field: str, form: re.Pattern[str], fix: str) -> None:
        self.text, self.field, self.fix = text, field, fix
        if len(text) > _LONGEST_CHARACTERS:
            self.refuse(f"at most {_LONGEST_CHARACTERS} characters")
        body, _, query = text.partition("?")
        matched = form.fullmatch(body)
        if matched is None or (query and not _PRINTABLE.fullmatch(query)):
            self.refuse(fix)
        self.part = matched.groupdict()
        self.options = Options(query, self.refuse)

    def refuse(self, fix: str) -> NoReturn:
        # Whoever writes a password into an address must not find it in an event.
        raise InvalidValue(self.field, redact(self.text[: 2 * _LONGEST_CHARACTERS])[0], fix)

    def number(self, name: str, allowed: range, default: int | None = None) -> int:
        digits = self.part[name]
        value = int(digits) if digits is not None or default is None else default
        if value not in allowed:
            self.refuse(f"{name} is {allowed[0]} to {allowed[-1]}")
        return value

    @property
    def host(self) -> str:
        return self.part["host"].strip("[]")

    @property
    def device(self) -> str:
        path = self.part["device"]
        if {".", ".."} & set(path.split("/")):
            self.refuse("leave out `.` and `..`")
        return path


def _file(text: str, field: str) -> FileAddress:
    read = _Read(text, field, _FILE, _FILE_FIX)
    read.options.end()
    try:
        path = unquote(read.part["path"], errors="strict")
    except UnicodeDecodeError:
        read.refuse(f"what is behind % is not UTF-8; {_FILE_FIX}")
    if not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")[1:]):
        read.refuse(f"leave out `..`, `//` and what cannot be printed; {_FILE_FIX}")
    return FileAddress(path)


def _gpio(read: _Read) -> GpioAddress:
    read.options.end()
    return GpioAddress(read.part["chip"], read.number("line", range(_LAST_LINE + 1)))


def _tcp(read: _Read, first_port: int) -> TcpAddress:
    read.options.end()
    return TcpAddress(read.host, read.number("port", range(first_port, _LAST_PORT + 1)))


def _uart(read: _Read) -> SerialAddress:
    serial = take_serial(read.options)
    read.options.end()
    return SerialAddress(read.device, serial)


def _modbus(text: str, field: str, writes: bool) -> ModbusAddress:
    over_tcp = text.startswith("tcp:")
    read = _Read(text, field, _MODBUS_TCP if over_tcp else _MODBUS_RTU, _MODBUS_FIX)
    tables: dict[str, Table] = {table: table for table in (_WRITABLE if writes else _READABLE)}
    table = tables.get(read.part["table"])
    if table is None:
        read.refuse(f"the table is one of {', '.join(tables)}")
    unit = read.number("unit", _TCP_UNITS if over_tcp else _RTU_UNITS)
    number = read.number("number", range(_LAST_NUMBER + 1))
    type_: NumberType = "uint16"
    low_word_first = False
    if table in _NUMBERS and not writes:
        type_, low_word_first = take_number_type(read.options)
    device: TcpAddress | SerialAddress
    if over_tcp:
        device = TcpAddress(read.host, read.number("port", range(1, _LAST_PORT + 1), default=MODBUS_PORT))
    else:
        device = SerialAddress(read.device, take_modbus_serial(read.options))
    read.options.end()
    address = ModbusAddress(device, unit, table, number, type_, low_word_first)
    if number + address.count - 1 > _LAST_NUMBER:
        read.refuse(f"the second of its two registers is behind {_LAST_NUMBER}, the last one")
    return address
