"""The WebRTC side of WHIP: one connection that sends tracks, made by aiortc."""

import asyncio
import time
from collections.abc import Callable, Mapping

import aioice.ice
import aiortc.rtcrtpsender
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from schemas.errors import Conflict, MeshError, Unavailable
from schemas.packets import Track
from services.publisher.push_wire import PushPacket
from services.publisher.whip_ice_servers import IceServer
from services.publisher.whip_tracks import PacketTrack
from shared.media.mux import TrackParameters

_MIME_TYPES = {"h264": "video/H264", "vp8": "video/VP8", "opus": "audio/opus"}
_GOOD, _BAD = frozenset({"connected"}), frozenset({"failed", "closed"})
# What aiortc's parser raises for an answer that is none; it asserts where it should refuse.
_UNREADABLE = (ValueError, AssertionError, KeyError, IndexError, AttributeError, StopIteration, TypeError)
_MAX_ANSWER_LINES = 1_024  # parsing takes time that grows with them; answers have some fifty
_KEY_REQUEST_SECONDS = 0.5  # a peer that lost something repeats its request until the picture has come
# aiortc keeps 128 packets for retransmission: less than one key picture of 4 Mbit/s.
_RETRANSMIT_PACKETS = 1_024
# aioice gives a peer up that answers none of 6 checks, 5 s apart; whoever watches has left by then. RFC 7675 section
# 5.1 allows checks that are closer, and 30 s at most. One that is lost is no reason.
_CONSENT_SECONDS, _LEAST_CONSENT_FAILURES, _MOST_CONSENT_FAILURES = 1, 2, 30
_CLOSE_SECONDS = 1.0  # saying goodbye takes a few packets

KeyWanted = Callable[[], None]


def tune_libraries(loopback: bool, patience_seconds: float) -> None:
    """Settings of aiortc and aioice that have no parameter; of this process, which is the connection's own.

    `patience_seconds`: how long a peer may be silent. `loopback`: the server is on this machine; aioice leaves
    127.0.0.1 out, and there may be no other address.
    """
    failures = min(max(round(patience_seconds / _CONSENT_SECONDS), _LEAST_CONSENT_FAILURES), _MOST_CONSENT_FAILURES)
    aioice.ice.CONSENT_INTERVAL, aioice.ice.CONSENT_FAILURES = _CONSENT_SECONDS, failures
    aiortc.rtcrtpsender.RTP_HISTORY_SIZE = _RETRANSMIT_PACKETS  # type: ignore[attr-defined]
    if loopback:
        others = aioice.ice.get_host_addresses
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1", *others(use_ipv4, False)]


class WhipPeer:
    """Made, offered, answered, connected, fed, closed; lives in the event loop."""

    def __init__(
        self,
        shown: str,
        tracks: Mapping[Track, TrackParameters],
        ice_servers: tuple[IceServer, ...],
        on_key_wanted: KeyWanted,
        on_lost: Callable[[int], None],
    ) -> None:
        """Raises:
        Conflict: a codec that WHIP does not carry here.
        """
        self._shown = shown
        servers = [RTCIceServer(urls=one.url, username=one.username, credential=one.credential) for one in ice_servers]
        # An empty list: none. Left out, aiortc would ask a public server about our address.
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._changed = asyncio.Event()
        self._on_key_wanted = on_key_wanted
        self._asked_at = float("-inf")
        self._tracks: dict[Track, PacketTrack] = {}
        self._transceivers: dict[Track, RTCRtpTransceiver] = {}
        for track, parameters in tracks.items():
            sent = self._tracks[track] = PacketTrack(track, on_lost)
            transceiver = self._transceivers[track] = self._peer.addTransceiver(sent, direction="sendonly")
            transceiver.setCodecPreferences(_codecs(sent.kind, parameters.codec))
            if track == "video":
                # aiortc hears requests for a key picture and tells them to its own encoder only.
                transceiver.sender._send_keyframe = self._key_wanted  # type: ignore[method-assign]
        for event in ("connectionstatechange", "iceconnectionstatechange"):
            self._peer.on(event, self._changed.set)

    async def offer(self) -> str:
        """The SDP to send, with every candidate in it."""
        await self._peer.setLocalDescription(await self._peer.createOffer())
        return str(self._peer.localDescription.sdp)

    async def connect(self, answer: str, seconds: float) -> None:
        """Take the answer, and wait until media can flow.

        Raises:
            Conflict: the server takes none of our video.
            Unavailable: the answer is none, or no connection comes about.
        """
        if len(answer.splitlines()) > _MAX_ANSWER_LINES:
            raise Unavailable(f"{self._shown}: the answer has more than {_MAX_ANSWER_LINES} lines")
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        except OperationError:
            raise self._refused("video") from None
        except TimeoutError:
            raise Unavailable(f"{self._shown}: no ICE connection within {seconds:g} s") from None
        except (InvalidStateError, InvalidAccessError, *_UNREADABLE) as error:
            raise Unavailable(f"{self._shown}: the answer is no SDP answer ({type(error).__name__})") from None
        for track, transceiver in self._transceivers.items():
            if transceiver.currentDirection != "sendonly":
                if track == "video":
                    raise self._refused(track)
                self._tracks.pop(track).stop()  # pictures alone are better than nothing
        while self._peer.connectionState not in _GOOD:
            if self._peer.connectionState in _BAD or self._peer.iceConnectionState in _BAD:
                raise Unavailable(f"{self._shown}: the WebRTC connection failed ({self._where()})")
            self._changed.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                raise Unavailable(
                    f"{self._shown}: no WebRTC connection within {seconds:g} s ({self._where()}); "
                    "does the server tell an address and a UDP port that can be reached from here?"
                ) from None

    async def lost(self) -> MeshError:
        """Wait for the end of the connection."""
        while self._peer.connectionState in _GOOD and self._peer.iceConnectionState not in _BAD:
            self._changed.clear()
            await self._changed.wait()
        return Unavailable(f"{self._shown}: the server closed the connection, or was silent for too long")

    def send(self, packet: PushPacket, payload: memoryview) -> None:
        """Queue a packet; one of a track that the server does not take goes nowhere."""
        if track := self._tracks.get(packet.track):
            track.put(packet, payload)

    async def drained(self) -> None:
        """Wait until everything that was queued is sent."""
        for track in self._tracks.values():
            await track.drained.wait()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._peer.close()
        except TimeoutError:  # the process ends, and with it the socket
            pass

    def _key_wanted(self) -> None:
        now = time.monotonic()
        if now - self._asked_at >= _KEY_REQUEST_SECONDS:
            self._asked_at = now
            self._on_key_wanted()

    def _where(self) -> str:
        return "ICE" if self._peer.iceConnectionState != "completed" else "DTLS"

    def _refused(self, track: Track) -> Conflict:
        codec = "h264 or vp8" if track == "video" else "opus"
        return Conflict(f"{self._shown}: the server takes none of the {track} offered; choose a rendition with {codec}")


def _codecs(kind: str, codec: str) -> list[RTCRtpCodecCapability]:
    """What is offered: the one codec there is, and its retransmission.

    Raises:
        Conflict: aiortc does not speak of it.
    """
    wanted = _MIME_TYPES.get(codec, "")
    known = RTCRtpSender.getCapabilities(kind).codecs
    if not any(one.mimeType.lower() == wanted.lower() for one in known):
        raise Conflict(f"WHIP cannot carry {codec}; choose a rendition with h264 or vp8")
    return [one for one in known if one.mimeType.lower() in (wanted.lower(), f"{kind}/rtx")]
