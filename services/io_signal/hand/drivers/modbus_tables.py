"""Coils and registers: the requests that set and read them, and the values that they hold."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteSingleRegisterRequest,
)

from services.io_signal.hand.drivers.base import DeviceError
from services.io_signal.signals.addresses import ModbusAddress, Table

_READS: Final[dict[Table, type[ModbusPDU]]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "register": ReadHoldingRegistersRequest,
    "input-register": ReadInputRegistersRequest,
}
_MOST_AT_ONCE: Final[dict[Table, int]] = {"coil": 2_000, "discrete": 2_000, "register": 125, "input-register": 125}
# What one request more costs, a round trip, is 60 registers more on a line of 19200 baud; devices differ in what they
# let be read at once, so gaps stay small.
_WIDEST_GAP: Final[dict[Table, int]] = {"coil": 64, "discrete": 64, "register": 8, "input-register": 8}
_FORMATS: Final = {"uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "float32": ">f"}


@dataclass(frozen=True, slots=True)
class Range:
    """Coils or registers of one table that follow one another."""

    table: Table
    unit: int
    first: int
    count: int

    def request(self) -> ModbusPDU:
        return _READS[self.table](dev_id=self.unit, address=self.first, count=self.count)

    def holds(self, address: ModbusAddress) -> bool:
        return (
            (self.table, self.unit) == (address.table, address.unit)
            and self.first <= address.number
            and address.number + address.count <= self.first + self.count
        )

    def raw(self, answer: ModbusPDU) -> Sequence[int]:
        """What is in it, by an answer to `request`.

        Raises:
            DeviceError: it is not all there.
        """
        found: Sequence[int] = answer.bits if self.table in ("coil", "discrete") else answer.registers
        if len(found) < self.count:  # of coils there are some more, to fill a byte
            raise DeviceError(f"unit {self.unit} sends {len(found)} of {self.count} values that it was asked for")
        return found


def range_of(address: ModbusAddress) -> Range:
    """What holds one address, and nothing else."""
    return Range(address.table, address.unit, address.number, address.count)


def ranges(addresses: Sequence[ModbusAddress]) -> list[Range]:
    """As few as hold all of `addresses`; small holes between them are read too."""
    found: list[Range] = []
    for one in sorted(map(range_of, addresses), key=lambda one: (one.unit, one.table, one.first, one.count)):
        last = found[-1] if found else None
        if last is not None and (last.table, last.unit) == (one.table, one.unit):
            count = max(last.count, one.first + one.count - last.first)
            gap = one.first - (last.first + last.count)
            if gap <= _WIDEST_GAP[one.table] and count <= _MOST_AT_ONCE[one.table]:
                found[-1] = Range(last.table, last.unit, last.first, count)
                continue
        found.append(one)
    return found


def value_of(address: ModbusAddress, words: Sequence[int]) -> bool | int | float:
    """The value of an address of `count` coils or registers; NaN of a float where it has none."""
    if address.table in ("coil", "discrete"):
        return bool(words[0])
    ordered = list(words[: address.count])
    if address.low_word_first:
        ordered.reverse()
    packed = b"".join(word.to_bytes(2, "big") for word in ordered)
    (value,) = struct.unpack(_FORMATS[address.type], packed)
    if address.type != "float32":
        return int(value)
    # Of 24 bits of mantissa seven digits are what was meant: 0.1, and not 0.10000000149011612.
    return float(f"{value:.7g}") if math.isfinite(value) else float(value)


def write_request(address: ModbusAddress, value: int) -> ModbusPDU:
    """Sets a coil, on where `value` is not 0, or a register."""
    if address.table == "coil":
        return WriteSingleCoilRequest(dev_id=address.unit, address=address.number, bits=[bool(value)])
    return WriteSingleRegisterRequest(dev_id=address.unit, address=address.number, registers=[value])


def check_written(address: ModbusAddress, value: int, answer: ModbusPDU) -> None:
    """The answer to a write says what was written.

    Raises:
        DeviceError: something else.
    """
    got = answer.bits if address.table == "coil" else answer.registers
    wanted = bool(value) if address.table == "coil" else value
    if answer.address != address.number or not got or got[0] != wanted:
        raise DeviceError(f"unit {address.unit} says that it has written something else")
