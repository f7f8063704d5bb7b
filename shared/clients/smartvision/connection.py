"""This process's one connection to the mesh: made at the first call, kept over restarts of the bus, ended at exit."""

import atexit
import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import msgspec

from schemas.errors import InternalError, MeshError, Unavailable
from shared.clients.smartvision.log import say
from shared.clients.sync_mesh import Mesh

P = ParamSpec("P")
T = TypeVar("T")
Reply = TypeVar("Reply")

_NAME = "smartvision"
_connecting = threading.Lock()
_open: contextlib.ExitStack | None = None
_mesh: Mesh | None = None
_pid = 0
_before_close: list[Callable[[], None]] = []


def mesh() -> Mesh:
    """The connection.

    Raises:
        Unavailable: there is no NATS server, or this process was forked from one that is connected.
        InvalidValue: a setting that is none.
    """
    global _mesh, _open, _pid
    check_process()
    with _connecting:
        if _mesh is None:
            stack = contextlib.ExitStack()
            _mesh = stack.enter_context(Mesh.connect(name=_NAME))
            atexit.unregister(close)
            atexit.register(close)
            _open, _pid = stack, os.getpid()
        return _mesh


def check_process() -> None:
    """Refuse what would wait for threads that a forked process does not have.

    Raises:
        Unavailable: this process was forked from one that is connected.
    """
    if _mesh is not None and _pid != os.getpid():
        raise Unavailable(
            "this process was forked from one that uses the mesh, whose pictures it must not touch; start it with "
            'multiprocessing.set_start_method("spawn")'
        )


def before_close(work: Callable[[], None]) -> None:
    """Call `work` whenever a connection ends, before it does."""
    _before_close.append(work)


def close() -> None:
    """End the connection; the next call makes another one. Called at exit."""
    global _mesh
    if _open is None or _mesh is None or _pid != os.getpid():
        return
    for work in _before_close:
        work()
    with _connecting:
        stack, found, _mesh = _open, _mesh, None
    if found is not None:
        stack.close()


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
