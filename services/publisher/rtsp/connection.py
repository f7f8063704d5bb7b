"""One client's TCP connection: its messages, one after another, and the media interleaved between the answers."""

import asyncio
import time
from typing import cast

from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.credentials import Challenge
from services.publisher.rtsp.dialog import Dialog
from services.publisher.rtsp.feeds import Feeds
from services.publisher.rtsp.messages import Request, RtspError, read_message
from services.publisher.rtsp.session import TIMEOUT_SECONDS
from services.publisher.rtsp.udp import UdpPorts

_IDLE_SECONDS = 20.0  # a connection without a session; players ask within a second
_STALLED_SECONDS = 10.0  # a client whose connection takes not one byte for so long is gone
_GRACE_SECONDS = 5.0  # of the session's timeout, for what is under way
# For the last answer and what is on its way; who reads nothing must not keep 8 MB and a socket for ever.
_FAREWELL_SECONDS = 1.0


class Connection:
    """Serves one client until it leaves, is idle for too long, or its rendition ends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        feeds: Feeds,
        challenge: Challenge,
        udp: UdpPorts | None,
        counters: RtspCounters,
        server: str,
    ) -> None:
        """`server`: the `Server` header."""
        self._reader, self._writer = reader, writer
        self._wire = cast(asyncio.Transport, writer.transport)
        self.peer: str = writer.get_extra_info("peername")[0]
        self._dialog = Dialog(self, self.peer, feeds, challenge, udp, counters, server)
        self._heard_s = time.monotonic()
        self._written = 0
        self._gone_bytes = 0
        self._gone_s = time.monotonic()
        self.closed_because = "the client left"

    # -- life --------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Read and answer until the connection ends; lets go of everything then."""
        try:
            while (message := await read_message(self._reader)) is not None:
                self.hear()
                if isinstance(message, Request):
                    await self._dialog.answer(message)
                # What has come already is read without a wait: thousands of tiny messages would hold all others up.
                await asyncio.sleep(0)
        except RtspError as error:
            self._dialog.refuse(error, error.cseq)
            self.closed_because = error.text
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # it is gone, or the server closes it; why is known
        finally:
            self._dialog.let_go()
            await self._say_farewell()

    def close(self, reason: str) -> None:
        """End it, after what is on its way."""
        self.closed_because = reason
        self._writer.close()
        self._reader.feed_eof()

    def tick(self) -> None:
        """Once a second: whether the client is still there."""
        now = time.monotonic()
        waiting = self._wire.get_write_buffer_size()
        gone = self._written - waiting
        if gone != self._gone_bytes or not waiting:
            self._gone_bytes, self._gone_s = gone, now
        if now - self._gone_s > _STALLED_SECONDS:
            self._wire.abort()  # there is no use in waiting until it reads
            self.close(f"it read nothing for {_STALLED_SECONDS:g} s")
            return
        session = self._dialog.session
        if session is not None and session.playing and not session.over_udp:
            return  # what it reads tells that it is there
        limit = _IDLE_SECONDS if session is None else TIMEOUT_SECONDS + _GRACE_SECONDS
        if now - self._heard_s > limit:
            self.close(f"nothing was heard of it for {limit:g} s")

    # -- `dialog.Line` ----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self._wire.is_closing():
            self._written += len(data)
            self._wire.write(data)

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def hear(self) -> None:
        self._heard_s = time.monotonic()

    async def _say_farewell(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._writer.wait_closed()
        except (OSError, TimeoutError, asyncio.CancelledError):  # it is gone, does not read, or the server closes it
            self._wire.abort()
