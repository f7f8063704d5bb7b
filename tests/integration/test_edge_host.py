"""A camera host with a nats-server of its own, as the leaf of a hub on another host: watched and recorded there, cut
off and back. Network namespaces are the hosts."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from schemas.commands import MeshStatus
from schemas.errors import Unavailable
from schemas.subjects import PREFIX
from shared.bus import Bus
from shared.state import StateMirrors
from shared.status import mesh_status
from tests.support.light_peer import LightPeer
from tests.support.pace import Patience, slowness
from tests.support.two_hosts import EDGE, HUB, TwoHosts

BITRATE = 1_000_000
LINK_SECONDS = 2.0
LAPSED_SECONDS = 12.0  # presence lapses after ten
BACK_SECONDS = 6.0  # the leaf tries again every second, is asked every second, and lists everything anew
PACKETS = 30
pytestmark = [pytest.mark.alone, pytest.mark.long]


async def call(bus: Bus, verb: str, request: dict[str, Any]) -> dict[str, Any]:
    reply = await bus.request_raw(f"{PREFIX}.cmd.{verb}", json.dumps(request).encode(), 20)
    found: dict[str, Any] = json.loads(reply)
    return found


async def status_of(bus: Bus) -> MeshStatus:
    mirrors = await StateMirrors.open(bus)
    try:
        return mesh_status(mirrors)
    finally:
        await mirrors.close()


async def until(bus: Bus, what: str, seconds: float, condition: Callable[[MeshStatus], bool]) -> None:
    patience = Patience(seconds)
    mirrors = await StateMirrors.open(bus)
    try:
        while not condition(status := mesh_status(mirrors)):
            assert not patience.is_over(), f"{what}\n{status}"
            await asyncio.sleep(0.05)
    finally:
        await mirrors.close()


def stream_states(status: MeshStatus) -> dict[str, str]:
    return {entry.spec.stream: entry.actual.state if entry.actual else "" for entry in status.streams}


def output_states(status: MeshStatus) -> dict[str, str]:
    return {entry.spec.output: entry.actual.state if entry.actual else "" for entry in status.outputs}


async def grows(on: TwoHosts, name: str, seconds: float = 8.0) -> None:
    """The newest recording of that name gets longer."""
    began = recorded(on, name)
    patience = Patience(seconds)
    while recorded(on, name) <= began:
        assert not patience.is_over(), f"{name} does not grow"
        await asyncio.sleep(0.1)


def recorded(on: TwoHosts, name: str) -> int:
    return sum(path.stat().st_size for path in on.folder.glob(f"{name}*.ts"))


async def link_rate(on: TwoHosts) -> float:
    """bit/s from the edge to the hub."""
    before, began = on.crossed_bytes(), time.monotonic()
    await asyncio.sleep(LINK_SECONDS)
    return (on.crossed_bytes() - before) * 8 / (time.monotonic() - began)


async def watch(on: TwoHosts) -> None:
    """Somebody at the hub's gateway sees the edge's stream."""
    with on.on(HUB), LightPeer() as peer:
        async with aiohttp.ClientSession() as http:
            headers = {"Content-Type": "application/sdp"}
            async with http.post("http://127.0.0.1:8889/whep/cam0/main", data=peer.offer, headers=headers) as said:
                answer = await said.text()
                assert said.status == 201, answer
        await peer.connect(answer)
        await peer.media(PACKETS)
        peer.leave()


async def test_an_edge_host() -> None:
    with TwoHosts() as on:
        on.start_nats(HUB)
        on.start_nats(EDGE)
        # The hub's capture has no camera: it answers for the edge's while that is away.
        on.start(HUB, "capture", "publisher", "webrtc-gateway")
        on.start(EDGE, "capture", "hw-encode", "publisher")
        async with on.bus(HUB) as hub, on.bus(EDGE) as edge:
            assert (hub.leaf_of, edge.leaf_of) == (None, EDGE)
            await use_both(on, hub, edge)
            await cut_off(on, hub, edge)
        on.kill(EDGE, "nats")
        on.start_nats(EDGE)
        async with on.bus(HUB) as hub:
            await grows(on, "hub")
            assert stream_states(await status_of(hub))["cam0"] == "live"


async def use_both(on: TwoHosts, hub: Bus, edge: Bus) -> None:
    source = "test://?size=640x360&fps=25"
    begun = await call(hub, "capture.start", {"stream": "cam0", "node": EDGE, "source": source})
    assert (begun["code"], begun["actual"]["node"], begun["actual"]["state"]) == (200, EDGE, "live")
    main = {"stream": "cam0", "rendition": "main", "encoder": "software", "bitrate": f"{BITRATE}"}
    assert (await call(edge, "hw-encode.start", main))["code"] == 200
    own = {"stream": "cam0", "output": "own", "node": EDGE, "rendition": "main", "to": f"file://{on.folder}/own.ts"}
    assert (await call(edge, "publisher.start", own))["code"] == 200

    references: dict[str, int] = {HUB: 0, EDGE: 0}
    await hub.subscribe(f"{PREFIX}.frames.>", lambda _: references.update({HUB: references[HUB] + 1}))
    await edge.subscribe(f"{PREFIX}.frames.>", lambda _: references.update({EDGE: references[EDGE] + 1}))
    quiet = await link_rate(on)
    there = {"stream": "cam0", "output": "hub", "node": HUB, "rendition": "main", "to": f"file://{on.folder}/hub.ts"}
    assert (await call(hub, "publisher.start", there))["code"] == 200
    await grows(on, "hub")
    busy = await link_rate(on)
    print(f"link: {quiet / 1e3:.0f} kbit/s while only the edge records, {busy / 1e3:.0f} kbit/s with the hub")
    assert quiet < BITRATE * 0.2, "packets cross only where somebody wants them"
    assert busy > BITRATE * 0.4
    assert references[EDGE] > 0
    assert references[HUB] == 0, "frame references stay on their host"
    await watch(on)
    for bus in (hub, edge):
        status = await status_of(bus)
        assert stream_states(status) == {"cam0": "live"}
        assert output_states(status) == {"own": "running", "hub": "running"}
        assert {(one.service, one.node) for one in status.services} == {
            *((service, HUB) for service in ("capture", "publisher", "webrtc-gateway")),
            *((service, EDGE) for service in ("capture", "hw-encode", "publisher")),
        }


async def cut_off(on: TwoHosts, hub: Bus, edge: Bus) -> None:
    on.cut()
    began = time.monotonic()
    for service in ("capture", "hw-encode", "publisher"):
        on.kill(EDGE, service)
    on.start(EDGE, "capture", "hw-encode", "publisher")
    await grows(on, "own")
    with pytest.raises(Unavailable, match="cut off from its hub"):
        await call(edge, "capture.stop", {"stream": "cam0"})
    # On the hub it is changed meanwhile.
    stopped = await call(hub, "publisher.stop", {"stream": "cam0", "output": "own", "wait_s": 0})
    more = {"stream": "cam1", "node": EDGE, "source": "test://?size=384x216&fps=10", "wait_s": 0}
    added = await call(hub, "capture.start", more)
    assert (stopped["code"], added["code"]) == (202, 202)
    await asyncio.sleep(max(0.0, LAPSED_SECONDS - (time.monotonic() - began)))
    status = await status_of(hub)
    assert stream_states(status) == {"cam0": "away", "cam1": ""}, "nobody knows"
    listed = (await call(hub, "capture.list", {"stream": "cam0"}))["streams"]
    assert [one["actual"]["state"] for one in listed] == ["away"], "and no list says otherwise"
    assert output_states(status)["hub"] == "waiting"
    assert EDGE not in {one.node for one in status.services}
    status = await status_of(edge)
    assert stream_states(status) == {"cam0": "live"}
    assert output_states(status)["own"] == "running"
    await grows(on, "own")

    on.mend()
    mended = time.monotonic()
    await until(
        edge,
        "what was asked for meanwhile",
        BACK_SECONDS * slowness(),
        lambda now: stream_states(now) == {"cam0": "live", "cam1": "live"} and "own" not in output_states(now),
    )
    applied = time.monotonic() - mended
    await until(hub, "the hub knows", BACK_SECONDS, lambda now: stream_states(now) == {"cam0": "live", "cam1": "live"})
    print(f"back: applied after {applied:.1f} s, known on the hub after {time.monotonic() - mended:.1f} s")
    await grows(on, "hub")
