"""Bits of the headers of video: fixed numbers, and Exp-Golomb ones (ITU-T H.264 section 9.1)."""

from typing import Final

from schemas.errors import BadRequest

_MAX_ZEROS: Final = 32  # ue(v) is at most 32 bits wide


class Bits:
    """Reads bits from the front; raises BadRequest at the end."""

    def __init__(self, data: bytes, what: str) -> None:
        """`what`: the header that it is, for errors."""
        self._what = what
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def u(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise BadRequest(f"{self._what} is cut short")
        return self._value >> self._left & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > _MAX_ZEROS:
                raise BadRequest(f"{self._what} with a number of more than 32 bits")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)
