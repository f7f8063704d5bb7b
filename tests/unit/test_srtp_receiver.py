"""What a peer with the keys can do to the receiving side of SRTP."""

import os
import struct

import pytest
from pylibsrtp import Policy, Session

from services.webrtc_gateway.transport.srtp import SrtpReceiver, TooManySources

pytestmark = pytest.mark.unit
PROFILE, KEY_BYTES = Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28
REPORT, PACKET = struct.Struct("!BBHI"), struct.Struct("!BBHII")


def test_a_flood_of_sources_is_refused_and_those_that_are_known_go_on() -> None:
    key = os.urandom(KEY_BYTES)
    peer = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILE))
    receiver = SrtpReceiver(key, PROFILE)
    refused = 0
    for ssrc in range(1, 101):
        report = peer.protect_rtcp(REPORT.pack(0x80, 201, 1, ssrc))
        try:
            assert receiver.unprotect_rtcp(report) == REPORT.pack(0x80, 201, 1, ssrc)
        except TooManySources:
            refused += 1
    assert refused == 84
    with pytest.raises(TooManySources):
        receiver.unprotect_rtp(peer.protect(PACKET.pack(0x80, 96, 1, 0, 500)))
    packet = PACKET.pack(0x80, 96, 1, 0, 1)
    assert receiver.unprotect_rtp(peer.protect(packet)) == packet
