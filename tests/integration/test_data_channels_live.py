"""Data channels through the real gateway and a real nats-server: aiortc and Chromium as viewers, bridges, floods."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiortc import AudioStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from playwright.async_api import Page
from test_whep_aiortc import Player
from test_whep_chromium import CHROMIUM, chromium
from whep_rig import EncodedStream, Rig, gateway_rig

from services.webrtc_gateway.datachannels.bridge import Bridge, parse_bridges
from services.webrtc_gateway.datachannels.bridges import Bridges
from services.webrtc_gateway.datachannels.gate import Rights, may_use
from services.webrtc_gateway.ingest.answer import write_ingest_answer
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.offer import match_ingest
from services.webrtc_gateway.ingest.publisher import Publisher
from services.webrtc_gateway.signalling.offer import read_offer
from services.webrtc_gateway.transport.dtls import DtlsIdentity
from shared.bus import Bus, Message
from tests.support.nats import NatsServer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
APP = "mesh.v1.evt.app"
WRITTEN = (
    "events <- mesh.v1.evt.capture.>",
    f"chat <-> {APP}.{{stream}}.chat 100/s 4k",
    f"click -> {APP}.{{stream}}.click 20/s 100",
    f"raw <-> {APP}.{{stream}}.raw 200/s 250k binary",
    f"private <-> {APP}.{{stream}}.private",
)
LARGE_BYTES = 200_000


class Heard:
    """What the bus carried on subjects of applications."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def on(self, subject: str) -> list[bytes]:
        return [message.data for message in self.messages if message.subject == subject]


class Site:
    """A gateway with its bridges, and the bus on their other side."""

    def __init__(self, rig: Rig, bus: Bus, heard: Heard) -> None:
        self.rig, self.bus, self.heard = rig, bus, heard
        self.counters = rig.gateway.data_plane.counters

    async def until(self, holds: Callable[[], bool], seconds: float = 5.0) -> None:
        async with patience(seconds):
            while not holds():
                await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def site(server: NatsServer) -> AsyncIterator[Site]:
    async with gateway_rig(EncodedStream()) as rig, contextlib.AsyncExitStack() as stack:
        bus = await Bus.connect(server.url, name="gateway", timeout_seconds=5)
        stack.push_async_callback(bus.drain)
        outside = await Bus.connect(server.url, name="outside", timeout_seconds=5)
        stack.push_async_callback(outside.drain)
        heard = Heard()
        await outside.subscribe(f"{APP}.>", heard.messages.append)
        await outside.flush()

        def gate(rights: Rights, bridge: Bridge) -> bool:
            return bridge.label != "private" and may_use(rights, bridge)

        bridges = Bridges(bus, parse_bridges(WRITTEN), rig.gateway.data_plane.counters, gate)
        stack.push_async_callback(bridges.close)
        rig.gateway.data_plane.add_user(bridges)
        yield Site(rig, outside, heard)


class Talker(Player):
    """A viewer with data channels."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, list[bytes | str]] = {}

    def channel(self, label: str, **parameters: object) -> RTCDataChannel:
        channel = self.peer.createDataChannel(label, **parameters)
        kept = self.messages.setdefault(label, [])
        channel.on("message", kept.append)
        return channel


@contextlib.asynccontextmanager
async def talking(site: Site, *labels: str) -> AsyncIterator[tuple[Talker, list[RTCDataChannel]]]:
    """A viewer that plays, with these channels open."""
    talker = Talker()
    channels = [talker.channel(label) for label in labels]
    try:
        await talker.play(site.rig.url)
        await site.until(lambda: all(channel.readyState != "connecting" for channel in channels), 10)
        yield talker, channels
    finally:
        await talker.close()


async def listened(site: Site, subject: str, talker: Talker, label: str) -> None:
    """Wait until what is said on `subject` arrives: the gateway subscribes when a channel opens."""
    async with patience(5):
        while not talker.messages[label]:
            site.bus.post(subject, b"hello")
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.05)
    talker.messages[label].clear()


async def test_bridges_both_ways_and_their_limits(site: Site) -> None:
    async with talking(site, "events", "chat", "click", "raw") as (one, (events, chat, click, raw)):
        await listened(site, "mesh.v1.evt.capture.cam0.live", one, "events")
        await listened(site, f"{APP}.cam0.chat", one, "chat")
        site.bus.post("mesh.v1.evt.capture.cam0.lost", b'{"event":"lost"}')
        site.bus.post(f"{APP}.cam1.chat", b"of another stream")
        site.bus.post(f"{APP}.cam0.chat", b"of this one")
        site.bus.post(f"{APP}.cam0.chat", b"\xff\x00 no text")
        await site.until(lambda: len(one.messages["chat"]) == 2)
        assert one.messages["chat"] == ["of this one", b"\xff\x00 no text"]
        await site.until(lambda: one.messages["events"] == ['{"event":"lost"}'])

        site.heard.messages.clear()
        click.send("yes")
        click.send(b"\x01\x02")
        click.send("n" * 101)
        events.send("nobody may say this")
        large = bytes(range(250)) * (LARGE_BYTES // 250)
        raw.send(large)
        await site.until(lambda: one.messages["raw"] == [large])
        await site.until(lambda: site.heard.on(f"{APP}.cam0.click") == [b"yes", b"\x01\x02"])
        assert site.heard.on(f"{APP}.cam0.raw") == [large]
        assert site.counters.dropped["size_in"] == 1
        assert site.counters.dropped["not_allowed"] == 1

        for _ in range(60):
            click.send("flood")
        await site.until(lambda: site.counters.dropped["rate_in"] >= 20)
        assert 1 <= len(site.heard.on(f"{APP}.cam0.click")) <= 2 + 20 + 20
        for number in range(300):
            site.bus.post(f"{APP}.cam0.chat", b"%d" % number)
        await site.until(lambda: site.counters.dropped["rate_out"] >= 100)

        async with talking(site, "chat", "private", "unheard-of") as (_, channels):
            await site.until(lambda: [channel.readyState for channel in channels[1:]] == ["closed", "closed"])
            assert site.counters.refused["unknown_label"] == 2
        chat.close()
        await site.until(lambda: chat.readyState == "closed")
        assert one.pictures


PAGE = """
async (path) => {
  const pc = new RTCPeerConnection();
  const page = window.page = {pc, got: {chat: [], raw: [], events: []}, channels: {}, frames: 0};
  pc.addTransceiver('video', {direction: 'recvonly'});
  for (const [label, options] of [['chat', {}], ['raw', {ordered: false}], ['events', {maxRetransmits: 3}]]) {
    const channel = page.channels[label] = pc.createDataChannel(label, options);
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({data}) => page.got[label].push(
      typeof data === 'string' ? data : Array.from(new Uint8Array(data)).reduce((sum, byte) => sum + byte, 0));
  }
  pc.addEventListener('datachannel', ({channel}) => { page.offered = channel; });
  const open = Promise.all(Object.values(page.channels).map((channel) =>
    new Promise((resolve, reject) => { channel.onopen = resolve; channel.onerror = reject; })));
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/sdp'},
                                      body: pc.localDescription.sdp});
  if (response.status !== 201) throw new Error(await response.text());
  await pc.setRemoteDescription({type: 'answer', sdp: await response.text()});
  await open;
  return pc.sctp.maxMessageSize;
}
"""
TALK = """
async (size) => {
  page.channels.chat.send('from the page: gr\u00fc\u00dfe');
  page.channels.raw.send(new Uint8Array(size).fill(3));
  page.channels.raw.send(new Uint8Array([1, 2, 3]));
}
"""
REFUSED = """
() => new Promise((resolve) => { page.pc.createDataChannel('unheard-of').onclose = resolve; })
"""
OFFERED = """
async () => {
  const coming = () => new Promise((resolve) => { page.pc.ondatachannel = ({channel}) => resolve(channel); });
  const channel = page.offered ?? await coming();
  return [channel.label, channel.ordered, channel.maxRetransmits, channel.readyState];
}
"""
FLOOD = """
async ([size, seconds]) => {
  const {raw} = page.channels;
  const until = performance.now() + seconds * 1000;
  const message = new Uint8Array(size);
  let sent = 0;
  while (performance.now() < until) {
    while (raw.bufferedAmount < 1 << 20) { raw.send(message); sent += 1; }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return sent;
}
"""
FLOOD_SECONDS = 1.5
FLOOD_BYTES = 200


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")
async def test_chromium_talks_and_a_flood_leaves_the_others_their_pictures(site: Site, tmp_path: Path) -> None:
    async with chromium(site.rig, tmp_path) as page:
        assert await page.evaluate(PAGE, "/whep/cam0") == 256 * 1024
        await page_listens(site, page)
        site.heard.messages.clear()
        site.bus.post("mesh.v1.evt.capture.cam0.lost", b'{"event":"lost"}')
        await page.evaluate(TALK, LARGE_BYTES)
        await site.until(lambda: len(site.heard.on(f"{APP}.cam0.raw")) == 2)
        assert sorted(map(len, site.heard.on(f"{APP}.cam0.raw"))) == [3, LARGE_BYTES]
        assert site.heard.on(f"{APP}.cam0.chat") == ["from the page: grüße".encode()]
        await page_got(page, "chat", ["from the page: grüße"])
        await page_got(page, "events", ['{"event":"lost"}'])
        await page_got(page, "raw", [6, 3 * LARGE_BYTES])

        await page.evaluate(REFUSED)
        (viewer,) = site.rig.gateway.viewers
        assert viewer._data is not None
        assert viewer._data.channels.open("#ours", ordered=False, max_retransmits=1)
        assert await page.evaluate(OFFERED) == ["#ours", False, 1, "open"]

        async with talking(site, "chat") as (other, _):
            await other.until(lambda: len(other.pictures) >= 3)
            seen, began_s = len(other.pictures), time.monotonic()
            sent = await page.evaluate(FLOOD, [FLOOD_BYTES, FLOOD_SECONDS])
            took_s = time.monotonic() - began_s
            during = len(other.pictures) - seen
            dropped = site.counters.dropped["rate_in"] + site.counters.packets_refused["busy"]
            print(
                f"flood: {sent} messages in {took_s:.2f} s, {site.counters.messages_in} came in, {dropped} dropped; "
                f"the other viewer got {during} pictures"
            )
            assert dropped > 0
            assert during >= 5
            assert other.peer.connectionState == "connected"
        await page.evaluate("() => page.channels.chat.close()")
        (session,) = (info for info in site.rig.gateway.sessions() if info.state != "closed")
        await page.evaluate("() => page.pc.close()")
        await site.until(lambda: site.rig.gateway.sessions() == ())
        assert session.stream == "cam0"


async def page_listens(site: Site, page: Page) -> None:
    """Wait until the page hears the bus on every label, then forget what it heard."""
    async with patience(5):
        while not await page.evaluate("() => page.got.chat.length && page.got.raw.length && page.got.events.length"):
            for subject in (f"{APP}.cam0.chat", f"{APP}.cam0.raw", "mesh.v1.evt.capture.cam0.live"):
                site.bus.post(subject, b"hello")
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    await page.evaluate("() => { for (const label in page.got) page.got[label] = []; }")


async def page_got(page: Page, label: str, wanted: list[object]) -> None:
    """Wait until the page has these messages, in any order; of bytes their sum."""
    async with patience(5):
        while True:
            got = await page.evaluate("(label) => page.got[label]", label)
            if sorted(got) == sorted(wanted):
                return
            await asyncio.sleep(0.02)


async def test_a_publisher_talks_too(site: Site) -> None:
    """On the transport of what is published, with the same bridges."""
    peer = RTCPeerConnection()
    peer.addTrack(AudioStreamTrack())
    chat = peer.createDataChannel("chat")
    said: list[bytes | str] = []
    chat.on("message", said.append)
    await peer.setLocalDescription(await peer.createOffer())
    text, identity, transport = peer.localDescription.sdp, DtlsIdentity(), site.rig.transport
    offer = match_ingest(read_offer(text), text)
    ended: list[str] = []
    publisher = Publisher(
        session="s",
        stream="studio",
        run=1,
        terms=offer.terms,
        transport=transport,
        identity=identity,
        counters=IngestCounters(),
        max_bps=1_000_000,
        data_plane=site.rig.gateway.data_plane,
        rights=Rights(control=True),
        deliver=lambda publisher, unit: None,
        on_connected=lambda publisher: None,
        on_closed=lambda publisher, reason: ended.append(reason),
    )
    transport.add(publisher.ice)
    answer = write_ingest_answer(
        offer,
        ufrag=publisher.ice.ufrag,
        password=publisher.ice.password,
        fingerprint=identity.fingerprint,
        candidates=transport.candidates,
        max_bps=1_000_000,
    )
    try:
        await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        await site.until(lambda: chat.readyState == "open", 10)
        chat.send("on air")
        await site.until(lambda: site.heard.on(f"{APP}.studio.chat") == [b"on air"])
        async with patience(5):
            while not said:
                site.bus.post(f"{APP}.studio.chat", b"heard")
                await asyncio.sleep(0.02)
        publisher.close("deleted")
        await site.until(lambda: chat.readyState == "closed")
        assert ended == ["deleted"]
    finally:
        await peer.close()


async def test_echoes_reach_the_list_of_sessions(site: Site) -> None:
    async with talking(site, "latency") as (talker, (latency,)):
        await talker.until(lambda: len(talker.pictures) >= 1)
        now_ms = time.time() * 1e3
        latency.send(json.dumps({"join_ms": 70, "captured_ms": now_ms - 25, "presented_ms": now_ms}))
        await site.until(lambda: site.rig.gateway.sessions()[0].latency_ms is not None)
        (info,) = site.rig.gateway.sessions()
        assert info.latency_ms == pytest.approx(25, abs=0.1)
        assert (info.latency_source, info.picture_ms) == ("timecode", 70)
        assert info.join_ms is not None
        assert 0 < info.join_ms < (talker.first_picture - talker.posted) * 1e3
