"""What stands behind the `?` of an address: how a serial line is set, and which number two registers make."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, TypeVar, get_args

Parity = Literal["none", "even", "odd"]
NumberType = Literal["uint16", "int16", "uint32", "int32", "float32"]
WordOrder = Literal["high-first", "low-first"]
Refuse = Callable[[str], NoReturn]
_Choice = TypeVar("_Choice", bound=str)

# Those that Linux has names for: other speeds need a driver's own ways.
BAUD_RATES: Final = (
    *(300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 500_000, 576_000),
    *(921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000),
)
_BAUD_TEXTS: Final = tuple(map(str, BAUD_RATES))
_UART_BAUD = 9_600  # what Linux and most devices begin with
_MODBUS_BAUD = 19_200  # Modbus over Serial Line V1.02, 2.5.1: this speed and even parity where nothing is said
_MOST_CHARACTERS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class SerialOptions:
    """How a serial line is set."""

    baud: int
    parity: Parity
    stop: Literal[1, 2]
    bits: Literal[7, 8]

    @property
    def character_seconds(self) -> float:
        """How long one character takes on the wire, with its start, parity and stop bits."""
        return (1 + self.bits + (self.parity != "none") + self.stop) / self.baud


class Options:
    """The pairs of a query, each of which must be taken once: what is left over is refused."""

    def __init__(self, query: str, refuse: Refuse) -> None:
        self._refuse = refuse
        self._known: list[str] = []
        self._left: dict[str, str] = {}
        for pair in query.split("&") if query else ():
            name, equals, value = pair.partition("=")
            if not equals or not name or not value:
                refuse("write options as name=value, with & between them")
            if name in self._left:
                refuse(f"give {name[:_MOST_CHARACTERS_SHOWN]} once")
            self._left[name] = value

    def take(self, name: str, choices: Sequence[_Choice], default: _Choice) -> _Choice:
        """The value of one option, which must be one of `choices`."""
        self._known.append(name)
        given = self._left.pop(name, default)
        chosen = next((choice for choice in choices if choice == given), None)
        if chosen is None:
            self._refuse(f"{name} is one of {', '.join(choices)}")
        return chosen

    def end(self) -> None:
        """Refuse what nobody took."""
        for name in self._left:
            known = f"write one of {', '.join(self._known)}" if self._known else "leave it out"
            self._refuse(f"{name[:_MOST_CHARACTERS_SHOWN]} is no option of it; {known}")


def take_serial(options: Options) -> SerialOptions:
    """Of a line of text: 9600 baud, no parity, one stop bit, 8 bits where nothing is said."""
    baud = int(options.take("baud", _BAUD_TEXTS, str(_UART_BAUD)))
    parity = _take_parity(options, "none")
    return SerialOptions(
        baud, parity, _take_stop(options, "1"), 7 if options.take("bits", ("7", "8"), "8") == "7" else 8
    )


def take_modbus_serial(options: Options) -> SerialOptions:
    """Of Modbus RTU: 19200 baud and even parity; without parity two stop bits; always 8 bits.

    Source: Modbus over Serial Line V1.02, 2.5.1.
    """
    baud = int(options.take("baud", _BAUD_TEXTS, str(_MODBUS_BAUD)))
    parity = _take_parity(options, "even")
    return SerialOptions(baud, parity, _take_stop(options, "2" if parity == "none" else "1"), 8)


def take_number_type(options: Options) -> tuple[NumberType, bool]:
    """Which number one or two registers make, and whether the low word of two comes first."""
    type_ = options.take("type", get_args(NumberType), "uint16")
    order: WordOrder = options.take("words", get_args(WordOrder), "high-first")
    return type_, order == "low-first"


def _take_parity(options: Options, default: Parity) -> Parity:
    return options.take("parity", get_args(Parity), default)


def _take_stop(options: Options, default: str) -> Literal[1, 2]:
    return 2 if options.take("stop", ("1", "2"), default) == "2" else 1
