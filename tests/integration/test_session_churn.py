"""Viewers that come and go: nothing of them stays behind."""

import asyncio
import gc
import os
from pathlib import Path

import aiohttp
import pytest
from whep_rig import EncodedStream, Rig, gateway_rig

from schemas.errors import InvalidValue, NotFound
from schemas.sessions import KickSessions, ListSessions, SessionStatsRequest
from services.webrtc_gateway.egress.session_commands import SessionCommands
from tests.support.light_peer import LightPeer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
LONG = bool(os.environ.get("FRAMEMESH_TEST_LONG"))
WARM_UP, CYCLES = 40, 2_000 if LONG else 100
# What the allocator takes once, whatever the number: 2,000 sessions made it 2.6 MB.
MAX_GROWTH_BYTES = 6_000_000
SDP = {"Content-Type": "application/sdp", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}


def small_stream() -> EncodedStream:
    return EncodedStream(audio=False, width=160, height=90)


async def join(rig: Rig, http: aiohttp.ClientSession, peer: LightPeer) -> str:
    """The path of the new session."""
    async with http.post(rig.url + "/whep/cam0", data=peer.offer, headers=SDP) as response:
        answer = await response.text()
        assert response.status == 201, answer
    await peer.connect(answer)
    await peer.media()
    return response.headers["Location"]


async def until_gone(rig: Rig) -> None:
    async with patience(5):
        while rig.gateway.sessions():
            await asyncio.sleep(0.002)


async def cycles(rig: Rig, http: aiohttp.ClientSession, count: int) -> None:
    for number in range(count):
        with LightPeer() as peer:
            path = await join(rig, http, peer)
            if number % 2:
                peer.leave()
            else:
                async with http.delete(rig.url + path) as response:
                    assert response.status == 200
            await until_gone(rig)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_nothing_is_left_of_sessions_that_ended() -> None:
    async with gateway_rig(small_stream()) as rig, aiohttp.ClientSession() as http:
        await cycles(rig, http, WARM_UP)
        gc.collect()
        before = resident_bytes(), open_files(), len(asyncio.all_tasks())
        await cycles(rig, http, CYCLES)
        gc.collect()
        after = resident_bytes(), open_files(), len(asyncio.all_tasks())
        print(f"{CYCLES} sessions: memory {(after[0] - before[0]) / 1e6:+.2f} MB, files {before[1]} -> {after[1]}")
        assert after[1] <= before[1]
        assert after[2] <= before[2]
        assert after[0] - before[0] < MAX_GROWTH_BYTES
        assert rig.stream.opened == 1, "the rendition kept flowing"
        assert rig.gateway.counters.sessions_connected == WARM_UP + CYCLES
        assert rig.transport.dropped_unknown < WARM_UP + CYCLES


async def test_sessions_are_listed_looked_at_and_ended_by_command() -> None:
    kicked: list[tuple[str, dict[str, str]]] = []
    async with gateway_rig(small_stream()) as rig, aiohttp.ClientSession() as http:
        commands = SessionCommands(rig.gateway, lambda stream, detail: kicked.append((stream, detail)))
        with LightPeer() as one, LightPeer() as two:
            first, second = [(await join(rig, http, peer)).split("/")[-1] for peer in (one, two)]
            (info, _) = (await commands.list(ListSessions(stream="cam0"))).sessions
            assert (info.session, info.kind, info.client, info.address) == (first, "whep", "Firefox 140 (Linux)", "")
            assert (await commands.list(ListSessions(stream="cam1"))).sessions == ()
            found = await commands.stats(SessionStatsRequest(session=first[:8]))
            assert {type(item).__name__ for item in found.stats} == {
                "CodecStats",
                "OutboundRtpStats",
                "TransportStats",
                "CandidatePairStats",
            }
            assert (await commands.kick(KickSessions(session=first[:8], reason="enough"))).sessions == (first,)
            assert kicked == [("cam0", {"session": first[:8], "reason": "enough"})]
            assert [info.session for info in rig.gateway.sessions()] == [second]
            with pytest.raises(NotFound, match="framemesh sessions"):
                await commands.kick(KickSessions(session=first))
            with pytest.raises(InvalidValue, match="either a session or a stream"):
                await commands.kick(KickSessions())
            with pytest.raises(InvalidValue, match="at least 4 characters"):
                await commands.kick(KickSessions(session=""))
            assert (await commands.kick(KickSessions(stream="cam1"))).sessions == ()
            assert (await commands.kick(KickSessions(stream="cam0"))).sessions == (second,)
            assert rig.gateway.counters.closed["kicked"] == 2
