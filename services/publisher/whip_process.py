"""The process that talks to one WHIP server: packets come through standard input, reports go out of standard output.

A process, so that a connection's cryptography, timers and library settings are its own and a kill ends all of it.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from schemas.errors import InternalError, MeshError, Unavailable
from services.publisher.push_wire import PushJob, PushPacket, PushReport, read_job, read_packets, write_report
from services.publisher.whip_endpoint import POLICY, WhipEndpoint, WhipSession
from services.publisher.whip_ice_servers import IceServer
from services.publisher.whip_peer import WhipPeer, tune_libraries
from shared.netguard import check
from shared.urls import redact

# Between the pipe and the event loop: a moment of 60 pictures/s and sound. Full, the pipe fills, and then the parent's
# queue, which drops.
_IN_FLIGHT_PACKETS = 64
# While the connection is made the latest group of pictures is kept: 10 s of 60 pictures and 50 sound packets/s.
_HELD_PACKETS = 1_100
_HELD_BYTES = 16 * 1024 * 1024
_DRAIN_SECONDS = 0.5  # what is queued is sent as fast as UDP takes it
_REPORT_SECONDS = 1.0  # how often drops are told
_CALL_WAITS = 2  # of the endpoint's own deadlines: a slow name and a slow answer, or a redirect

Given = TypeVar("Given")
Result = TypeVar("Result")


class WhipPush:
    """One attempt: offers, connects, sends until the input ends or the peer does."""

    def __init__(self, job: PushJob) -> None:
        self._job = job
        self._endpoint = WhipEndpoint(job.url, job.timeout_seconds)
        self._held: list[tuple[PushPacket, memoryview]] = []
        self._held_bytes = 0
        self._peer: WhipPeer | None = None
        self._fed = False
        """A packet has come since a key picture was last asked for."""
        self._dropped = 0
        self._told_at = 0.0
        self.ended = asyncio.Event()
        """The input is at its end."""

    def feed(self, packet: PushPacket, payload: memoryview) -> None:
        """Send a packet, or keep it for when there is a connection."""
        self._fed = True
        if self._peer is not None:
            self._peer.send(packet, payload)
            self._tell_drops()
            return
        if packet.track == "video" and packet.key:
            self._drop_held()
        if self._held_bytes + len(payload) > _HELD_BYTES or len(self._held) >= _HELD_PACKETS:
            self._drop_held()
        if not self._held and not (packet.track == "video" and packet.key):
            self._dropped += 1
            return
        self._held.append((packet, payload))
        self._held_bytes += len(payload)

    async def run(self) -> None:
        """Raises:
        MeshError: why the peer does not take the packets, free of secrets.
        """
        guarded = await asyncio.to_thread(check, self._endpoint.asked, POLICY, "to", self._job.timeout_seconds)
        tune_libraries(guarded.addresses[0] == "127.0.0.1", self._job.timeout_seconds)
        session, peer = await self._connect(())
        try:
            self._peer = peer
            for packet, payload in self._held:
                peer.send(packet, payload)
            self._held.clear()
            write_report(PushReport(dropped=self._dropped))
            self._dropped = 0
            await self._until_the_end(peer)
        finally:
            await peer.close()
            await self._delete(session)

    async def _connect(self, ice_servers: tuple[IceServer, ...]) -> tuple[WhipSession, WhipPeer]:
        peer = WhipPeer(
            self._endpoint.shown,
            self._job.tracks,
            ice_servers,
            on_key_wanted=self._ask_for_key,
            on_lost=self._lost,
        )
        session = None
        try:
            session = await self._in_time(self._endpoint.offer, await peer.offer())
            await peer.connect(session.answer, self._job.timeout_seconds)
        except BaseException as error:
            await peer.close()
            if session is not None:
                await self._delete(session)
                if isinstance(error, Unavailable) and session.ice_servers and not ice_servers:
                    # The servers for the way through a firewall are told with the answer, when the offer is made.
                    return await self._connect(session.ice_servers)
            raise
        return session, peer

    async def _until_the_end(self, peer: WhipPeer) -> None:
        ended, lost = asyncio.create_task(self.ended.wait()), asyncio.create_task(peer.lost())
        done, waiting = await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if lost in done:
            raise lost.result()
        with contextlib.suppress(TimeoutError):  # a peer that takes nothing misses the last pictures
            async with asyncio.timeout(_DRAIN_SECONDS):
                await peer.drained()

    async def _delete(self, session: WhipSession) -> None:
        with contextlib.suppress(MeshError):  # a server that does not answer finds out by itself
            await self._in_time(self._endpoint.delete, session)

    async def _in_time(self, call: Callable[[Given], Result], given: Given) -> Result:
        """A call to the endpoint, whose every wait is bounded, bounded as a whole too."""
        seconds = _CALL_WAITS * self._job.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.to_thread(call, given)
        except TimeoutError:
            self._endpoint.abort()
            raise Unavailable(f"{self._endpoint.shown}: no whole answer within {seconds:g} s") from None

    def _ask_for_key(self) -> None:
        # Reports are read when packets come: while none do they must not fill the pipe, which nobody empties.
        if self._fed:
            self._fed = False
            write_report(PushReport(key_wanted=True))

    def _lost(self, packets: int) -> None:
        self._dropped += packets

    def _drop_held(self) -> None:
        self._dropped += len(self._held)
        self._held.clear()
        self._held_bytes = 0

    def _tell_drops(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._dropped and now - self._told_at >= _REPORT_SECONDS:
            self._told_at = now
            write_report(PushReport(dropped=self._dropped))
            self._dropped = 0


def main() -> int:
    """Push until the input ends (0) or the peer fails (1)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends the input
    try:
        job = read_job(sys.stdin.buffer)
    except EOFError:
        return 1
    try:
        asyncio.run(_push(job, sys.stdin.buffer))
    except MeshError as error:
        write_report(PushReport(error=error.info))
        return 1
    except Exception as error:  # whatever the libraries make of a server's answer: the service has to hear of it
        traceback.print_tb(error.__traceback__)  # without its text, which may quote what is secret
        write_report(PushReport(error=InternalError(f"{redact(job.url)[0]}: {type(error).__name__}; see the log").info))
        return 1
    return 0


async def _push(job: PushJob, pipe: BinaryIO) -> None:
    push = WhipPush(job)
    loop = asyncio.get_running_loop()
    # A daemon: it may wait for input that never comes when the connection is over.
    threading.Thread(target=_read, args=(pipe, push, loop), daemon=True).start()
    await push.run()


def _read(pipe: BinaryIO, push: WhipPush, loop: asyncio.AbstractEventLoop) -> None:
    room = threading.Semaphore(_IN_FLIGHT_PACKETS)

    def feed(packet: PushPacket, payload: memoryview) -> None:
        room.release()
        push.feed(packet, payload)

    with contextlib.suppress(RuntimeError):  # the loop has ended: the connection is over
        for packet, payload in read_packets(pipe):
            room.acquire()
            loop.call_soon_threadsafe(feed, packet, payload)
        loop.call_soon_threadsafe(push.ended.set)


if __name__ == "__main__":
    # Not sys.exit: the thread may hold standard input's lock, which Python's end would wait for.
    os._exit(main())
