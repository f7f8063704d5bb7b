"""Addresses of outputs and inputs: every form is read; what is wrong is told with field, value and fix."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import InvalidValue
from schemas.signal_resources import InputMode, SignalMode
from services.io_signal.signals.address_options import SerialOptions
from services.io_signal.signals.addresses import (
    FileAddress,
    GpioAddress,
    ModbusAddress,
    SerialAddress,
    TcpAddress,
    file_address,
    input_address,
    output_address,
)

_EVEN = SerialOptions(19_200, "even", 1, 8)

OUTPUTS: list[tuple[SignalMode, str, object]] = [
    ("io", "file:///run/io/do1", FileAddress("/run/io/do1")),
    ("io", "file:///sys/class/leds/a:green:b/brightness", FileAddress("/sys/class/leds/a:green:b/brightness")),
    ("io", "file:///run/io/two%20words", FileAddress("/run/io/two words")),
    ("gpio", "gpio://gpiochip0/17", GpioAddress("gpiochip0", 17)),
    ("tcp", "tcp://10.0.0.5:9000", TcpAddress("10.0.0.5", 9000)),
    ("tcp", "tcp://[fd00::5]:9000", TcpAddress("fd00::5", 9000)),
    ("modbus", "tcp://plc:502/1/coil/3", ModbusAddress(TcpAddress("plc", 502), 1, "coil", 3)),
    ("modbus", "tcp://plc/255/register/65535", ModbusAddress(TcpAddress("plc", 502), 255, "register", 65_535)),
    (
        "modbus",
        "rtu:///dev/ttyUSB0/1/register/40",
        ModbusAddress(SerialAddress("/dev/ttyUSB0", _EVEN), 1, "register", 40),
    ),
    (
        "modbus",
        "rtu:///dev/serial/by-id/usb-FTDI_A5-if00-port0/247/coil/0?baud=115200&parity=none",
        ModbusAddress(
            SerialAddress("/dev/serial/by-id/usb-FTDI_A5-if00-port0", SerialOptions(115_200, "none", 2, 8)),
            247,
            "coil",
            0,
        ),
    ),
    ("uart", "uart:///dev/ttyS1", SerialAddress("/dev/ttyS1", SerialOptions(9_600, "none", 1, 8))),
    (
        "uart",
        "uart:///dev/ttyS1?baud=115200&parity=odd&stop=2&bits=7",
        SerialAddress("/dev/ttyS1", SerialOptions(115_200, "odd", 2, 7)),
    ),
]
INPUTS: list[tuple[InputMode, str, object]] = [
    ("gpio", "gpio://gpiochip0/4", GpioAddress("gpiochip0", 4)),
    ("tcp", "tcp://127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
    ("uart", "uart:///dev/pts/7?baud=9600", SerialAddress("/dev/pts/7", SerialOptions(9_600, "none", 1, 8))),
    ("modbus", "tcp://plc/1/discrete/9", ModbusAddress(TcpAddress("plc", 502), 1, "discrete", 9)),
    (
        "modbus",
        "tcp://plc/1/input-register/30?type=int32&words=low-first",
        ModbusAddress(TcpAddress("plc", 502), 1, "input-register", 30, "int32", low_word_first=True),
    ),
]
REFUSED: list[tuple[SignalMode, str, str]] = [
    ("io", "/run/io/do1", "write file:///PATH"),
    ("io", "file://run/io", "write file:///PATH"),
    ("io", "file:///run/../etc/passwd", "leave out"),
    ("io", "file:///run/%2e%2e/etc/passwd", "leave out"),
    ("io", "file:///run/io%00", "leave out"),
    ("io", "file:///run/io\n", "leave out"),
    ("io", "file:///run/%ff", "UTF-8"),
    ("io", "file:///run/io?x=1", "x is no option"),
    ("io", "tcp://plc:1", "write file:///PATH"),
    ("gpio", "gpio://gpiochip0", "write gpio://CHIP/LINE"),
    ("gpio", "gpio://mem/1", "write gpio://CHIP/LINE"),
    ("gpio", "gpio://gpiochip0/../mem/1", "write gpio://CHIP/LINE"),
    ("gpio", "gpio://gpiochip0/4096", "line is 0 to 4095"),
    ("tcp", "tcp://10.0.0.5", "write tcp://HOST:PORT"),
    ("tcp", "tcp://10.0.0.5:0", "port is 1 to 65535"),
    ("tcp", "tcp://10.0.0.5:65536", "port is 1 to 65535"),
    ("tcp", "tcp://10.0.0.5:80/path", "write tcp://HOST:PORT"),
    ("tcp", "tcp://10.0.0.5:80\n", "write tcp://HOST:PORT"),
    ("tcp", "tcp://user:hunter22@10.0.0.5:80", "write tcp://HOST:PORT"),
    ("modbus", "tcp://plc:502", "write tcp://HOST[:PORT]/UNIT/TABLE/NUMBER"),
    ("modbus", "tcp://plc/256/coil/1", "unit is 0 to 255"),
    ("modbus", "rtu:///dev/ttyS0/0/coil/1", "unit is 1 to 247"),
    ("modbus", "tcp://plc/1/discrete/1", "the table is one of coil, register"),
    ("modbus", "tcp://plc/1/coil/65536", "number is 0 to 65535"),
    ("modbus", "tcp://plc/1/coil/1?baud=9600", "baud is no option of it; leave it out"),
    ("modbus", "rtu:///dev/ttyS0/1/coil/1?baud=12345", "baud is one of 300"),
    ("modbus", "rtu:///dev/ttyS0/1/coil/1?bits=7", "bits is no option"),
    ("modbus", "rtu:///dev/../etc/shadow/1/coil/1", "leave out"),
    ("uart", "uart://dev/ttyS1", "write uart:///DEVICE"),
    ("uart", "uart:///dev/ttyS1?parity=maybe", "parity is one of none, even, odd"),
    ("uart", "uart:///dev/ttyS1?baud=9600&baud=9600", "give baud once"),
    ("uart", "uart:///dev/ttyS1?baud", "name=value"),
    ("uart", "uart:///dev/tty S1", "write uart:///DEVICE"),
    ("uart", "uart:///" + "a" * 2_000, "at most 1024 characters"),
]
_SCHEMES = st.sampled_from(["file:///", "gpio://gpiochip0/", "tcp://h:1", "rtu:///dev/x/1/coil/", "uart:///dev/x?", ""])


@pytest.mark.parametrize(("mode", "text", "address"), OUTPUTS)
def test_where_an_output_is(mode: SignalMode, text: str, address: object) -> None:
    assert output_address(mode, text) == address


@pytest.mark.parametrize(("mode", "text", "address"), INPUTS)
def test_where_an_input_is(mode: InputMode, text: str, address: object) -> None:
    assert input_address(mode, text) == address


@pytest.mark.parametrize(("mode", "text", "fix"), REFUSED)
def test_what_is_wrong_is_told_with_the_fix(mode: SignalMode, text: str, fix: str) -> None:
    with pytest.raises(InvalidValue) as told:
        output_address(mode, text, "signals.do1.address")
    assert told.value.field == "signals.do1.address"
    assert fix in told.value.message
    assert "hunter22" not in told.value.message
    assert "\n" not in told.value.message


def test_two_registers_must_be_there() -> None:
    with pytest.raises(InvalidValue, match="second of its two registers"):
        input_address("modbus", "tcp://plc/1/register/65535?type=uint32")


def test_a_number_is_of_registers_alone() -> None:
    with pytest.raises(InvalidValue, match="type is no option"):
        input_address("modbus", "tcp://plc/1/coil/1?type=uint32")


def test_one_line_has_one_setting() -> None:
    one = output_address("modbus", "rtu:///dev/ttyS0/1/coil/1?baud=9600")
    same = input_address("modbus", "rtu:///dev/ttyS0/2/discrete/7?baud=9600&parity=even")
    assert isinstance(one, ModbusAddress)
    assert isinstance(same, ModbusAddress)
    assert one.device == same.device


def test_a_path_alone_is_a_file() -> None:
    assert file_address("/run/io/do1") == file_address("file:///run/io/do1") == FileAddress("/run/io/do1")


def test_characters_take_their_time() -> None:
    assert SerialOptions(9_600, "even", 1, 8).character_seconds == pytest.approx(11 / 9_600)


@given(_SCHEMES, st.text(max_size=40), st.sampled_from(["io", "gpio", "tcp", "modbus", "uart"]))
@example("file:///", "\ud800", "io")
@example("uart:///dev/x?", "baud=\u0661", "uart")
@example("gpio://gpiochip0/", "\u0661", "gpio")
def test_any_text_is_an_address_or_is_refused(scheme: str, rest: str, mode: Any) -> None:
    for read in (output_address, input_address):
        if read is input_address and mode == "io":
            continue
        try:
            found = read(mode, scheme + rest)
        except InvalidValue as error:
            assert error.field == "address"  # noqa: PT017  # most are refused, some are not
        else:
            assert "\n" not in str(found)
