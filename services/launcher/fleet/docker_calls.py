"""Calls to Docker: in threads of their own, each with a deadline, with errors that say what to do."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from schemas.errors import Conflict, MeshError, NotFound, TooMany, Unavailable

_AnswerT = TypeVar("_AnswerT")
LOOK_SECONDS: Final = 5.0
_THREADS: Final = 8  # looks at each container of a host side by side
_MOST_WAITING: Final = 256  # calls; every one ends within its deadline, so more than that are a mistake
_TEXT_CHARACTERS: Final = 300  # of what Docker says


class Docker:
    """One Docker engine, as `DOCKER_HOST` names it or at its usual socket. Belongs to the event loop."""

    def __init__(self) -> None:
        """Raises: Unavailable: Docker's SDK is not installed."""
        try:
            import docker.errors
        except ImportError:
            raise Unavailable("Docker's SDK is missing: pip install 'framemesh[fleet]'") from None
        self._docker = docker
        self._threads = ThreadPoolExecutor(_THREADS, "docker")
        self._own = threading.local()  # a client has one session, which threads do not share
        self._under_way = 0

    async def call(self, work: Callable[[Any], _AnswerT], seconds: float = LOOK_SECONDS) -> _AnswerT:
        """What `work` returns, which gets a `docker.APIClient`.

        Raises:
            Unavailable: no engine, or no answer in time.
            NotFound, Conflict: as Docker says.
            TooMany: too many calls wait.
        """
        if self._under_way >= _MOST_WAITING:
            raise TooMany(f"{self._under_way} calls to Docker are under way; try again")
        self._under_way += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, partial(self._in_thread, work, seconds))
        running.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(running)
        except TimeoutError:
            raise Unavailable(f"Docker has not answered within {seconds:g} s") from None

    def close(self) -> None:
        """Calls that hang are left to their own deadlines."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, running: "asyncio.Future[Any]") -> None:
        self._under_way -= 1
        if not running.cancelled():
            running.exception()  # nobody may be waiting for it any more

    def _in_thread(self, work: Callable[[Any], _AnswerT], seconds: float) -> _AnswerT:
        try:
            client = self._client()
            client.timeout = seconds
            return work(client)
        except MeshError:
            raise
        except self._docker.errors.NotFound as error:
            raise NotFound(_said(error)) from None
        except self._docker.errors.APIError as error:
            kind = Conflict if error.status_code == 409 else Unavailable
            raise kind(f"Docker refuses: {_said(error)}") from None
        except (self._docker.errors.DockerException, OSError) as error:  # requests' errors are OSErrors
            raise Unavailable(
                f"Docker does not answer ({type(error).__name__}); is it running, and may this user use its socket? "
                "DOCKER_HOST names another one"
            ) from None

    def _client(self) -> Any:
        client = getattr(self._own, "client", None)
        if client is None:
            options = self._docker.utils.kwargs_from_env()
            client = self._own.client = self._docker.APIClient(version="auto", timeout=LOOK_SECONDS, **options)
        return client


def _said(error: Any) -> str:
    return str(error.explanation or error)[:_TEXT_CHARACTERS]
