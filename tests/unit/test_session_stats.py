"""What is told of a session can be read by whoever asks, whatever its client tells."""

import time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from test_viewer_in_step import Rendition, Wire, viewer_of

from schemas.sessions import SessionInfo
from services.webrtc_gateway.egress.session_stats import session_info
from services.webrtc_gateway.sora.reports import ClientReports

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("told", [True, 1 << 62, -1, 1 << 80, 0.5, "60", None, [1], {"a": 1}])
async def test_no_client_makes_the_list_of_sessions_unreadable(told: Any) -> None:
    viewer, reports = viewer_of(Rendition(2, 2, 1).feed, Wire()), ClientReports()
    ssrc = viewer.tracks[0].rtp.ssrc
    fields = {"framesPerSecond": told, "freezeCount": told}
    said = [{"type": "inbound-rtp", "kind": "video", "ssrc": ssrc, **fields}]
    assert reports.take(msgspec.Raw(msgspec.json.encode(said) if told != 1 << 80 else _large(ssrc)))
    viewer._link = cast(Any, SimpleNamespace(reported=reports.inbound))  # where a Sora session's are told
    info = session_info(viewer, time.monotonic())
    assert msgspec.json.decode(msgspec.json.encode(info), type=SessionInfo) == info


def _large(ssrc: int) -> bytes:
    """A number that msgspec reads and does not write."""
    number = 1 << 80
    return b'[{"type":"inbound-rtp","kind":"video","ssrc":%d,"framesPerSecond":%d,"freezeCount":%d}]' % (
        ssrc,
        number,
        number,
    )
