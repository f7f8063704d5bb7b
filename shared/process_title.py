"""What a process shows as its command line in `ps` and `top`."""

import ctypes
from typing import Final

_PR_SET_NAME: Final = 15  # linux/prctl.h
_NAME_BYTES: Final = 15
# Of /proc/self/stat, counted from the state, which follows the name: arg_start and arg_end of proc(5).
_BEGIN, _END = 45, 46
_libc = ctypes.CDLL(None)


def set_command(*arguments: str) -> None:
    """Show these in place of what this process was started with; they are cut where there is no room for more."""
    with open("/proc/self/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    begin, end = int(fields[_BEGIN]), int(fields[_END])
    text = b"".join(argument.encode() + b"\0" for argument in arguments)[: end - begin - 1]
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)  # on this process's own stack
    name = arguments[-1].rpartition(".")[2].replace("_", "-")
    _libc.prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES])
