"""Publishing without waiting: what the frame path uses."""

import asyncio
import threading

import msgspec
import nats.errors
from nats.aio.client import Client

MAX_UNSENT_BYTES = 16 * 1024 * 1024  # some seconds of everything a busy node says


class BusStats(msgspec.Struct):
    """Counters since the connection was made."""

    posted: int = 0
    dropped_disconnected: int = 0
    dropped_full: int = 0
    dropped_error: int = 0
    reconnects: int = 0
    refused: int = 0
    """What the server did not let this party publish or subscribe to."""
    unreadable: int = 0
    """Messages received that were not what their subject promises."""


class Outbox:
    """Sends messages now or never; every message that is not sent is counted."""

    def __init__(self, client: Client, stats: BusStats) -> None:
        self._client = client
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._handing_over = threading.Lock()
        self._handed_over: list[tuple[str, bytes]] = []
        """What media threads have posted since the event loop last looked; bounded by its bytes."""
        self._handed_over_bytes = 0

    def post(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Publish without ever waiting: while disconnected, or when too much is unsent already, drop and count.

        nats-py's `publish` only ever waits to flush; what is sent stands in its buffer by then. So it is run to that
        point and no further, and that buffer is the bounded queue. (A queue and a task of our own before it were
        neither faster nor slower: p50 0.30 ms from a media thread to another process' callback, nearly all of
        it the wake-ups of four threads in three processes.)
        """
        client = self._client
        if not client.is_connected:
            self._stats.dropped_disconnected += 1
            return
        if client.pending_data_size + len(data) > MAX_UNSENT_BYTES:
            self._stats.dropped_full += 1
            return
        publishing = client.publish(subject, data, headers=headers)
        try:
            publishing.send(None)
        except StopIteration:
            self._stats.posted += 1
        except nats.errors.Error:
            self._stats.dropped_error += 1
        else:
            self._stats.posted += 1
            publishing.close()

    def post_from_thread(self, subject: str, data: bytes) -> None:
        """`post` for media threads; what waits for a busy event loop is bounded too."""
        with self._handing_over:
            if self._handed_over_bytes + len(data) > MAX_UNSENT_BYTES:
                self._stats.dropped_full += 1
                return
            self._handed_over_bytes += len(data)
            self._handed_over.append((subject, data))
            if len(self._handed_over) > 1:  # the loop has been woken for the first of them, and takes all
                return
        # RuntimeError: the loop is closing; a late frame has nowhere to go.
        try:
            self._loop.call_soon_threadsafe(self._post_all)
        except RuntimeError:
            self._stats.dropped_disconnected += len(self._take_over())

    def _post_all(self) -> None:
        for subject, data in self._take_over():
            self.post(subject, data)

    def _take_over(self) -> list[tuple[str, bytes]]:
        with self._handing_over:
            messages, self._handed_over, self._handed_over_bytes = self._handed_over, [], 0
        return messages
