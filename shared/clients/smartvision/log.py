"""This module's log: to a file of its own or to the terminal, and the last message of each level."""

import logging
import sys
import threading
import time
from typing import Final, TextIO

from shared.clients.smartvision.enums import SVLogLevel

_LEVELS: Final = {
    SVLogLevel.SDEBUG: logging.DEBUG,
    SVLogLevel.SINFO: logging.INFO,
    SVLogLevel.SWARNING: logging.WARNING,
    SVLogLevel.SERROR: logging.ERROR,
}
_NOTHING: Final = logging.CRITICAL + 1
_DESTINATION: Final = "./aidclog_smart_vision_"
_FORM: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s smartvision: %(message)s"
_TIME_FORM: Final = "%Y-%m-%d %H:%M:%S"

logger = logging.getLogger("framemesh.smartvision")
_changing = threading.Lock()


class _Newest(logging.Handler):
    """Keeps the last message of each level."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.messages[record.levelno] = record.getMessage()


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes to what is `sys.stderr` at that moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_newest = _Newest()


def _send_to(*handlers: logging.Handler) -> None:
    with _changing:
        for handler in handlers:
            handler.setFormatter(logging.Formatter(_FORM, _TIME_FORM))
        before = [handler for handler in logger.handlers if handler is not _newest]
        logger.handlers[:] = [_newest, *handlers]
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        logger.propagate = False  # this log has a level and a place of its own
        for handler in before:
            handler.close()


def say(level: int, text: str, *values: object, exc_info: bool = False) -> None:
    """Log a line; to the terminal until a place was named."""
    if not logger.handlers:
        _send_to(_Terminal())
    logger.log(level, text, *values, exc_info=exc_info)


def set_log_level(log_level: SVLogLevel) -> None:
    """Log this and what is more important; `SOFF`: nothing. A number that is no level changes nothing."""
    try:
        wanted = SVLogLevel(log_level)
    except ValueError:
        say(logging.ERROR, "set_log_level: %r is no level; use one of SVLogLevel", log_level)
        return
    if not logger.handlers:
        _send_to(_Terminal())
    logger.setLevel(_LEVELS.get(wanted, _NOTHING))


def set_log_destination(destinationPath: str = _DESTINATION, also_to_stderr: bool = False) -> None:
    """Log to a new file whose name begins with `destinationPath` and goes on with date and time."""
    path = f"{destinationPath}{time.strftime('%Y%m%d-%H%M%S')}.log"
    try:
        to_file = logging.FileHandler(path, encoding="utf-8")
    except (OSError, ValueError) as error:  # the latter of a name that can be none
        why = getattr(error, "strerror", None) or error
        say(logging.ERROR, "set_log_destination: %r: %s; the log goes on where it was", path, why)
        return
    _send_to(to_file, *([_Terminal()] if also_to_stderr else []))


def log_to_stderr() -> None:
    """Log to the terminal, and no more to a file."""
    _send_to(_Terminal())


def log_last_msg(log_level: SVLogLevel) -> str:
    """The last message of this level; "" when there was none, or it is no level."""
    try:
        wanted = SVLogLevel(log_level)
    except ValueError:
        return ""
    return _newest.messages.get(_LEVELS.get(wanted, _NOTHING), "")
