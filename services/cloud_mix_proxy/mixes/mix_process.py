"""The process that makes a mix's pictures: kept running, shown layouts, started again when it dies or stands still."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from schemas.errors import BadRequest, Conflict, ErrorInfo, MeshError, Unavailable
from services.cloud_mix_proxy.mixer.protocol import EXIT_SUPERSEDED, Applied, FromMixer, Refused, Report
from services.cloud_mix_proxy.mixes.layout import ReadyLayout
from services.cloud_mix_proxy.mixes.mix_state import MixStateTeller
from services.cloud_mix_proxy.mixes.mixer_child import MixerChild, why_it_ended
from services.cloud_mix_proxy.mixes.parts import MixParts
from shared.backoff import Backoff
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_SHOW_SECONDS: Final = 6.0  # to decode 16 still pictures of 20 MB; a step of the reconciler has 15 s in all
_START_SECONDS: Final = 20.0
"""Until its first layout is seen: half a second, and ten on a machine that others keep busy. One that is killed for
that begins anew, and keeps it busier still."""
NotShown = Callable[[ReadyLayout, int, ErrorInfo], Awaitable[None]]


class MixProcess:
    """Belongs to one mix. What it is asked to show outlives the process that was asked."""

    def __init__(self, mix: str, parts: MixParts, state: MixStateTeller, not_shown: NotShown) -> None:
        """`not_shown`: told of a revision that the process would not show, and of the layout that stays."""
        self._mix, self._parts, self._state, self._not_shown = mix, parts, state, not_shown
        self.wanted: ReadyLayout | None = None
        """What it shows, or shall show when it is started again."""
        self._proven: ReadyLayout | None = None
        """What was seen last. A layout that no process ever showed gives way to it."""
        self._asked: ReadyLayout | None = None
        self._answered: asyncio.Future[Applied | Refused] | None = None
        self._asked_anew = asyncio.Event()
        self._showing = asyncio.Lock()
        self._child: MixerChild | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def lives(self) -> bool:
        """False: it has failed for good, or was ended; whoever wants it makes another."""
        return self._task is not None and not self._task.done() and not self._over

    def begin(self, layout: ReadyLayout, proven: ReadyLayout | None) -> None:
        """Start it, and keep it running; `proven` was seen before the service began."""
        self.wanted, self._proven = layout, proven
        self._task = start_task(self._supervise(), f"mix {self._mix}")

    async def end(self) -> None:
        """End it; nothing of it is left."""
        self._over = True
        if self._task is not None:
            await end_tasks(self._task)
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def show(self, layout: ReadyLayout) -> ErrorInfo | None:
        """Have it show a layout; why it does not. While it is being started, that is the next one.

        Raises:
            Unavailable: it takes nothing, does not answer, or does not live any more.
        """
        async with self._showing:
            if not self.lives():
                raise Unavailable(f"{self._mix} has ended")
            self._state.refused = None
            if self._child is None or self._state.actual.state != "running":
                self._show_next(layout)
                return None
            return await self._show_now(self._child, layout)

    async def _show_now(self, child: MixerChild, layout: ReadyLayout) -> ErrorInfo | None:
        before = self.wanted
        assert before is not None  # it has begun
        answered = self._expect(layout)
        try:
            await child.send(*layout.files(before.digests), layout.message())
            async with asyncio.timeout(_SHOW_SECONDS):
                answer = await answered
        except TimeoutError:
            # It may come yet, and then nobody would know what is seen: the one before follows it.
            await child.send(*before.files(layout.digests), before.message())
            text = f"its process does not take the layout within {_SHOW_SECONDS:g} s; smaller still pictures take less"
            raise Unavailable(f"{self._mix}: {text}") from None
        except Unavailable:
            if self.lives() and not child.runs:  # it died, and not of the layout, as far as anybody knows
                self._show_next(layout)
                return None
            raise
        finally:
            self._answered = None
        if isinstance(answer, Refused):
            return answer.error
        self._shown(layout, answer)
        return None

    def _show_next(self, layout: ReadyLayout) -> None:
        self.wanted = layout
        self._asked_anew.set()
        self._state.tell(state="starting", revision=layout.revision, error=None)

    def _shown(self, layout: ReadyLayout, answer: Applied) -> None:
        self.wanted = self._proven = layout
        self._state.shown(layout, answer.boxes)

    def _expect(self, layout: ReadyLayout) -> "asyncio.Future[Applied | Refused]":
        self._asked = layout
        self._answered = asyncio.get_running_loop().create_future()
        return self._answered

    def _hear(self, message: FromMixer) -> None:
        if isinstance(message, Report):
            if self._state.actual.state == "running":
                self._state.take(message)
        elif isinstance(message, Applied | Refused):
            waiting = self._answered
            if waiting is not None and not waiting.done() and self._asked and self._asked.revision == message.revision:
                waiting.set_result(message)

    async def _supervise(self) -> None:
        """Keep a process running, until cancelled or there is no use in it."""
        backoff = Backoff()
        while True:
            layout = self.wanted
            assert layout is not None  # begin() has set it
            error = await self._run(layout, backoff)
            self._child = None
            if self._proven is not layout and self.wanted is layout and self._proven is not None:
                self.wanted = self._proven
                await self._not_shown(self._proven, layout.revision, error.info)
            elif isinstance(error, BadRequest | Conflict) and self.wanted is layout:  # it would happen again
                self._state.tell(state="failed", error=error.info)
                return
            self._parts.counts.restarts += 1
            delay_seconds = backoff.next_seconds()
            log.warning("%s: %s", self._mix, error.message)
            told = self._state.refused or error.info
            self._state.tell(state="starting", error=told, restarts=self._state.actual.restarts + 1)
            # Who worked for a while is started again at once; and what is asked for now may be what works.
            if backoff.failures > 1 and await set_within(self._asked_anew, delay_seconds):
                backoff.reset()
            self._asked_anew.clear()

    async def _run(self, layout: ReadyLayout, backoff: Backoff) -> MeshError:
        """One process from its start to its end; why it ended."""
        child = self._child = MixerChild(self._parts.setup(self._mix), self._hear)
        ending: asyncio.Task[int] | None = None
        try:
            await child.start()
            ending = asyncio.create_task(child.ended())
            ending.add_done_callback(lambda _: self._give_up_waiting(child))
            answered = self._expect(layout)
            await child.send(*layout.files(), layout.message())
            async with asyncio.timeout(_START_SECONDS):
                waited: list[asyncio.Future[Any]] = [answered, ending]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            self._answered = None
            if answered.done():
                answer = answered.result()
                if isinstance(answer, Refused):
                    return BadRequest(answer.error.message)
                newest = self.wanted
                self._shown(layout, answer)
                backoff.succeeded()
                await self._catch_up(layout, newest)
            return _error_of(await ending, child)
        except TimeoutError:
            return Unavailable(f"the mix's process shows nothing within {_START_SECONDS:g} s")
        except Unavailable as error:
            return error
        finally:
            await child.stop()
            if ending is not None:
                await end_tasks(ending)

    def _give_up_waiting(self, child: MixerChild) -> None:
        waiting = self._answered
        if waiting is not None and not waiting.done() and self._showing.locked():
            waiting.set_exception(Unavailable(child.why or f"the process of {self._mix} has ended"))
            waiting.exception()  # nobody may be left who asks for it

    async def _catch_up(self, shown: ReadyLayout, newest: ReadyLayout | None) -> None:
        """Show what was asked for while the process was being started."""
        if newest is None or newest is shown:
            return
        try:
            refused = await self.show(newest)
        except MeshError as error:
            refused = error.info
        if refused is not None:
            await self._not_shown(shown, newest.revision, refused)


def _error_of(code: int, child: MixerChild) -> MeshError:
    text = child.why or why_it_ended(code, child.last_line)
    return Conflict(f"{text}: another writer has the stream") if code == EXIT_SUPERSEDED else Unavailable(text)
