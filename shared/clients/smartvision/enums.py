"""The enumerations of the Smart Vision V2 Python API, by its names and values."""

from enum import IntEnum


class SVLogLevel(IntEnum):
    """What is logged: `SINFO` all but debugging, `SWARNING` and `SERROR` less, `SDEBUG` everything, `SOFF` nothing."""

    SINFO = 0
    SWARNING = 1
    SERROR = 2
    SDEBUG = 3
    SOFF = 4


class SignalType(IntEnum):
    """What a signal says."""

    OFF = 0
    NG_SIGNAL = 1
    ALARM_SIGNAL = 2
    OK_SIGNAL = 3


class SignalMode(IntEnum):
    """How a signal goes out."""

    IO_MODE = 0
    TCP_MODE = 1
    MODBUS_MODE = 2
    UART_MODE = 3


class SPhase(IntEnum):
    """Where a task is, for `notify_sve`. The API's document names no members: these are this module's own."""

    IDLE = 0
    PREPARING = 1
    RUNNING = 2
    FINISHED = 3
    FAILED = 4
