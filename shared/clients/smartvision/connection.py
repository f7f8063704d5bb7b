"""This module's one connection to the mesh, and how its functions ask and answer."""

import functools
import logging
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from schemas.errors import InternalError, MeshError
from shared.clients.process_connection import ProcessConnection
from shared.clients.smartvision.log import say

P = ParamSpec("P")
T = TypeVar("T")
Reply = TypeVar("Reply")

_connection: Final = ProcessConnection("smartvision")
mesh = _connection.mesh
check_process = _connection.check_process
before_close = _connection.before_close
close = _connection.close


def ask(command: str, reply: type[Reply], /, **request: Any) -> Reply:
    """Give a command and read its reply.

    Raises:
        MeshError: the service's own error; Unavailable when nobody answers.
    """
    answer = mesh().call(command, **request)
    try:
        return msgspec.convert(answer, reply)
    except msgspec.ValidationError as error:
        raise InternalError(f"{command}: the reply is not what this version knows: {error}") from None


def answers(failed: Callable[[], Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """What the API promises of its functions: they raise nothing; what fails is told in the log, and by `failed()`."""

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            name = function.__name__.lstrip("_")
            try:
                return function(*args, **kwargs)
            except MeshError as error:
                say(logging.ERROR, "%s: %s", name, error.message)
            except ImportError as error:
                say(logging.ERROR, "%s: %s; install it with pip install 'framemesh[smartvision]'", name, error)
            except Exception as error:  # also of a wrong argument: the caller knows no exceptions from this API
                say(logging.ERROR, "%s: %s: %s", name, type(error).__name__, error)
                say(logging.DEBUG, "%s", name, exc_info=True)
            answer: T = failed()
            return answer

        return call

    return wrap


def minus_one() -> int:
    return -1


def zero() -> int:
    return 0


def abnormal() -> int:
    """The status of what cannot be asked."""
    return 4


def nothing() -> None:
    """What a function without a result answers."""


def empty_text() -> str:
    return ""
