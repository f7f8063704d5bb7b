"""Subscriptions that sessions share: one for each subject, as long as anybody listens."""

import asyncio
from collections.abc import Callable

from shared.bus import Bus, Message, Subscription
from shared.tasks import end_tasks, start_task

Listener = Callable[[bytes], None]


class Topics:
    """`join` and `leave` never wait; a task brings the bus to what is wanted."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._listeners: dict[str, dict[object, Listener]] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._changed = asyncio.Event()
        self._task = start_task(self._follow(), "bridge subscriptions")

    def join(self, subject: str, who: object, listener: Listener) -> None:
        """Call `listener` with every message on `subject` from soon on."""
        self._listeners.setdefault(subject, {})[who] = listener
        self._changed.set()

    def leave(self, subject: str, who: object) -> None:
        listeners = self._listeners.get(subject)
        if listeners is None:
            return
        listeners.pop(who, None)
        if not listeners:
            del self._listeners[subject]
            self._changed.set()

    async def close(self) -> None:
        await end_tasks(self._task)
        for subscription in self._subscriptions.values():
            await subscription.close()
        self._subscriptions.clear()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for subject in self._listeners.keys() - self._subscriptions.keys():
                self._subscriptions[subject] = await self._subscribe(subject)
            for subject in self._subscriptions.keys() - self._listeners.keys():
                await self._subscriptions.pop(subject).close()

    async def _subscribe(self, subject: str) -> Subscription:
        def receive(message: Message) -> None:
            for listener in tuple(self._listeners.get(subject, {}).values()):
                listener(message.data)

        return await self._bus.subscribe(subject, receive)
