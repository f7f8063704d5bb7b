"""The servers that the gateway is measured beside: aiortc as it comes, and Janus with its streaming plugin."""

import asyncio
import contextlib
import fractions
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
from aiohttp import web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from tests.support.peers import free_port, wait_until

JANUS = shutil.which("janus")
HOW_TO_GET_JANUS = "Janus is not here (apt-get install --no-install-recommends janus); measured without it"
_PLUGINS = ("libjanus_streaming.so",)
_RTP_BYTES = 1200  # as the gateway's packets
_FPS = 30
_READY_SECONDS = 10.0


class Played(MediaStreamTrack):
    """Encoded pictures, handed over when they are due."""

    kind = "video"

    def __init__(self, packets: list[bytes]) -> None:
        super().__init__()
        self._packets, self._number, self._began = packets, 0, time.monotonic()

    async def recv(self) -> av.Packet:
        await asyncio.sleep(max(0.0, self._began + self._number / _FPS - time.monotonic()))
        packet = av.Packet(self._packets[self._number % len(self._packets)])
        packet.pts, packet.time_base = self._number, fractions.Fraction(1, _FPS)
        self._number += 1
        return packet


async def serve_aiortc(clip: str, port: int) -> None:
    with av.open(clip) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    peers: set[RTCPeerConnection] = set()

    async def offer(request: web.Request) -> web.Response:
        peer = RTCPeerConnection()
        peers.add(peer)
        h264 = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType == "video/H264"]
        await peer.setRemoteDescription(RTCSessionDescription(sdp=await request.text(), type="offer"))
        peer.addTrack(Played(packets))
        peer.getTransceivers()[0].setCodecPreferences(h264)
        await peer.setLocalDescription(await peer.createAnswer())

        def changed() -> None:
            if peer.connectionState in ("closed", "failed"):
                peers.discard(peer)

        peer.on("connectionstatechange", changed)
        return web.Response(status=201, text=peer.localDescription.sdp)

    app = web.Application()
    app.router.add_post("/", offer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def aiortc_server(clip: Path) -> Iterator[tuple[int, str]]:
    """(process id, where viewers ask)."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.egress_peers", str(clip), str(port)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        yield child.pid, f"http://127.0.0.1:{port}/"
    finally:
        child.kill()
        child.wait()


def copied(clip: Path) -> Callable[[str], "subprocess.Popen[bytes]"]:
    """An ffmpeg that sends a clip as it is, over and over."""

    def feed(to: str) -> "subprocess.Popen[bytes]":
        command = f"ffmpeg -v error -re -stream_loop -1 -i {clip} -c copy -payload_type 96 -f rtp {to}"
        return subprocess.Popen(command.split(), stdout=subprocess.DEVNULL)

    return feed


@contextlib.contextmanager
def janus_server(start_feed: Callable[[str], "subprocess.Popen[bytes]"]) -> Iterator[tuple[int, str]]:
    """(process id, where viewers ask); `start_feed` sends H.264 as RTP of payload type 96 to the URL it is given."""
    assert JANUS is not None
    http, rtp, rtcp = free_port(), free_port(), free_port()
    plugins = next(Path("/usr/lib").glob("*/janus/plugins"))
    with tempfile.TemporaryDirectory(prefix="janus-") as name:
        folder = Path(name)
        for kind, libraries in (("plugins", _PLUGINS), ("transports", ("libjanus_http.so",))):
            (folder / kind).mkdir()
            for library in libraries:
                (folder / kind / library).symlink_to(plugins.parent / kind / library)
        (folder / "janus.jcfg").write_text(
            f'general: {{ configs_folder = "{folder}" plugins_folder = "{folder}/plugins"'
            f' transports_folder = "{folder}/transports" debug_level = 1 }}\n'
            "nat: { ice_lite = false full_trickle = false }\n"
        )
        (folder / "janus.transport.http.jcfg").write_text(
            f'general: {{ json = "plain" base_path = "/janus" http = true port = {http} ip = "127.0.0.1"'
            " https = false }\nadmin: { admin_http = false }\n"
        )
        (folder / "janus.plugin.streaming.jcfg").write_text(
            f'live: {{ type = "rtp" id = 1 audio = false video = true videoport = {rtp} videortcpport = {rtcp}'
            ' videopt = 96 videocodec = "h264" videofmtp = "profile-level-id=42e01f;packetization-mode=1" }\n'
        )
        log = (folder / "log").open("wb")
        janus = subprocess.Popen([JANUS, "-C", str(folder / "janus.jcfg"), "-F", str(folder)], stdout=log, stderr=log)
        feed = None
        try:
            wait_until(lambda: answers(http), _READY_SECONDS, "Janus answers")
            feed = start_feed(f"rtp://127.0.0.1:{rtp}?pkt_size={_RTP_BYTES - 16}")
            yield janus.pid, f"http://127.0.0.1:{http}/janus"
        except BaseException:
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            for child in filter(None, (feed, janus)):
                child.kill()
                child.wait()
            log.close()


if __name__ == "__main__":
    asyncio.run(serve_aiortc(sys.argv[1], int(sys.argv[2])))
