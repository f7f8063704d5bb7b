"""A publisher that changes its SSRC: it is followed, and closed when it does so for ever."""

import os
import struct
import time
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCDtlsFingerprint
from pylibsrtp import Policy, Session

from services.webrtc_gateway.datachannels.gate import NO_RIGHTS
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.egress.timings import Timings
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.publisher import PATH_LOST_SECONDS, Publisher
from services.webrtc_gateway.ingest.terms import SessionTerms, TrackTerms
from services.webrtc_gateway.transport.dtls import DtlsIdentity
from services.webrtc_gateway.transport.ice import SharedIceTransport
from services.webrtc_gateway.transport.srtp import SrtpReceiver, SrtpSender

pytestmark = pytest.mark.unit
PROFILE, KEY_BYTES = Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28
OPUS = 111


@pytest.fixture
async def closed() -> list[str]:
    """Why the publisher was closed."""
    return []


@pytest.fixture
async def publisher(closed: list[str]) -> AsyncIterator[Publisher]:
    identity = DtlsIdentity()
    prints = [RTCDtlsFingerprint("sha-256", identity.fingerprint.removeprefix("sha-256 "))]
    transport = SharedIceTransport.open(0, ["127.0.0.1"], bind="127.0.0.1")
    made = Publisher(
        session="one",
        stream="cam0",
        run=1,
        terms=SessionTerms((TrackTerms("opus", None, "0", OPUS, 48_000, None),), prints),
        transport=transport,
        identity=identity,
        counters=IngestCounters(),
        max_bps=1_000_000,
        data_plane=DataPlane(Timings()),
        rights=NO_RIGHTS,
        deliver=lambda publisher, unit: None,
        on_connected=lambda publisher: None,
        on_closed=lambda publisher, reason: closed.append(reason),
    )
    yield made
    made.close("deleted")
    transport.close()


def packet(ssrc: int, sequence: int = 1) -> bytes:
    return struct.pack("!BBHII", 0x80, OPUS, sequence, 960 * sequence, ssrc) + b"\xfc\xff\xfe"


async def test_who_changes_its_ssrc_for_ever_is_closed(publisher: Publisher, closed: list[str]) -> None:
    key = os.urandom(KEY_BYTES)
    peer = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILE))
    publisher._keys_ready(SrtpSender(os.urandom(KEY_BYTES), PROFILE), SrtpReceiver(key, PROFILE))
    for ssrc in range(1, 18):
        publisher.receive_srtp(peer.protect(packet(ssrc)))
    late_s = time.monotonic() + PATH_LOST_SECONDS + 1
    publisher.ice.checked_at = late_s  # its checks go on

    # While anything of it can be read, it stays, whatever others send in its name.
    publisher.receive_srtp(peer.protect(packet(1, sequence=2)))
    publisher.tick(late_s)
    assert closed == []
    publisher.receive_srtp(peer.protect(packet(18)))
    publisher.tick(time.monotonic() + 1)
    assert closed == [], "a packet more may come in a moment"
    publisher.tick(late_s)
    assert closed == ["too_many_ssrcs"]
