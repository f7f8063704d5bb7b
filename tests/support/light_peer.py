"""A WebRTC viewer that costs next to nothing: ICE check, DTLS handshake; it counts what comes and reports what it is
told to."""

import asyncio
import re
import socket
from typing import Self

from aioice import stun
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket
from OpenSSL import SSL

from services.webrtc_gateway.transport.dtls import DtlsIdentity
from services.webrtc_gateway.transport.srtp import SrtpSender
from tests.support.pace import patience

_STEP_SECONDS = 5.0
_DATAGRAM_BYTES = 2048
_PROFILES = (SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80)
_OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:0
a=recvonly
a=rtcp-mux
a=rtpmap:96 H264/90000
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=ice-ufrag:them
a=ice-pwd:theirpasswordtheirpassword
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
"""
IDENTITY: list[DtlsIdentity] = []  # one certificate for all peers: making one takes longer than a session


class LightPeer:
    """One peer; use as a context manager around its socket's life."""

    def __init__(self) -> None:
        if not IDENTITY:
            IDENTITY.append(DtlsIdentity())
        self._identity = IDENTITY[0]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._dtls = SSL.Connection(self._identity.context)
        self._dtls.set_connect_state()
        self.packets = 0
        self.ssrc = 0
        """Of the last packet."""
        self._srtp: SrtpSender | None = None
        self._reported = 0

    @property
    def offer(self) -> str:
        return _OFFER.format(fingerprint=self._identity.fingerprint)

    async def connect(self, answer: str) -> None:
        """Check connectivity with the gateway of `answer`, and shake hands."""
        found = {name: _value(answer, name) for name in ("ice-ufrag", "ice-pwd")}
        # This machine's own address where it is one of them, else that of the host that answers.
        places = re.findall(r" (\d+\.\d+\.\d+\.\d+) (\d+) typ host", answer)
        address, port = next((place for place in places if place[0] == "127.0.0.1"), places[0])
        self._socket.connect((address, int(port)))
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{found['ice-ufrag']}:them"
        request.attributes["ICE-CONTROLLING"] = 1
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(found["ice-pwd"].encode())
        self._socket.send(bytes(request))
        async with patience(_STEP_SECONDS):
            await self._receive()
            while not self._shake():
                self._dtls.bio_write(await self._receive())
        name = self._dtls.get_selected_srtp_profile()
        profile = next(profile for profile in _PROFILES if profile.openssl_profile == name)
        length = 2 * (profile.key_length + profile.salt_length)
        material = self._dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", length)
        self._srtp = SrtpSender(profile.get_key_and_salt(material, 0), profile.libsrtp_profile)

    async def media(self, packets: int = 1) -> None:
        """Wait for so many RTP packets in all."""
        async with patience(_STEP_SECONDS):
            while self.packets < packets:
                datagram = await self._receive()
                if 128 <= datagram[0] <= 191 and not 192 <= datagram[1] <= 223:
                    self.packets += 1
                    self.ssrc = int.from_bytes(datagram[8:12], "big")

    def report(self, lost: float, packets: int = 100) -> None:
        """Tell the gateway that of so many more packets this part was lost."""
        assert self._srtp is not None
        self._reported += packets
        block = RtcpReceiverInfo(self.ssrc, int(lost * 256), 0, self._reported, 0, 0, 0)
        self._socket.send(self._srtp.protect_rtcp(bytes(RtcpRrPacket(ssrc=1, reports=[block]))))

    def leave(self) -> None:
        """Say goodbye, as a page that is closed does."""
        self._dtls.shutdown()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _shake(self) -> bool:
        try:
            self._dtls.do_handshake()
        except SSL.WantReadError:
            return False
        finally:
            self._flush()
        return True

    def _flush(self) -> None:
        pending = b""
        while True:
            try:
                pending += self._dtls.bio_read(65536)
            except SSL.Error:
                break
        while pending:  # a datagram for each record: there is no telling how many fit
            size = 13 + int.from_bytes(pending[11:13], "big")
            self._socket.send(pending[:size])
            pending = pending[size:]

    async def _receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, _DATAGRAM_BYTES)


def _value(sdp: str, name: str) -> str:
    found = re.search(rf"^a={name}:(\S+)", sdp, re.MULTILINE)
    assert found is not None
    return found[1]
