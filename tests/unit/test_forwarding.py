"""A source's own packets: what is joined in the middle starts with a key picture, what is joined again shows a gap."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from services.capture.sink import StreamSink
from services.capture.sources.forwarding import video_forwarder
from shared.bus import Bus
from shared.packet_ring import PacketRingReader
from shared.packets import PacketPublisher

pytestmark = pytest.mark.unit

GOP = 10
JOINED_AT = 4


def camera(from_picture: int) -> Iterator[Any]:
    """Demuxed packets of a camera's transport stream that is joined at a picture."""
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as muxer:
        stream = muxer.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": str(GOP)})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"tune": "zerolatency", "x264-params": f"keyint={GOP}:scenecut=0"}
        for picture in range(3 * GOP):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), picture * 5, np.uint8), format="yuv420p")
            muxer.mux(stream.encode(frame))
        muxer.mux(stream.encode(None))
    with av.open(io.BytesIO(target.getvalue()), "r", format="mpegts") as source:
        yield source.streams.video[0]
        packets = [packet for packet in source.demux(video=0) if packet.size]
        yield from packets[from_picture:]


class Taken:
    """The sink's side of a forwarder: only what it is handed."""

    def __init__(self) -> None:
        self.keys: list[bool] = []

    def packet(self, payload: bytes, *, key: bool, **_: Any) -> None:
        self.keys.append(key)


@pytest.mark.parametrize("joined_at", [0, JOINED_AT])
def test_nothing_is_forwarded_before_the_first_key_picture(joined_at: int) -> None:
    stream, *packets = camera(joined_at)
    forwarder = video_forwarder(stream)
    assert forwarder is not None
    taken = Taken()
    for packet in packets:
        forwarder.forward(packet, cast(StreamSink, taken), pts_ns=0, dts_ns=0, duration_ns=0, captured_ns=0)
    assert packets[0].is_keyframe == (joined_at == 0)
    assert taken.keys[0]
    assert len(taken.keys) == 3 * GOP - (GOP if joined_at else 0), "and everything from there on"


def test_a_gap_leaves_an_index_out_on_every_track(tmp_path: Path) -> None:
    publisher = PacketPublisher(
        cast(Bus, None),  # nobody listens: nothing goes there
        tmp_path,
        stream="cam0",
        rendition="source",
        run=7,
        ring_seconds=60,
        ring_bytes=1 << 20,
    )
    publisher.on_bus = False

    def publish(time_ns: int) -> None:
        times = {"pts_ns": time_ns, "dts_ns": time_ns, "captured_ns": 0, "epoch": 7}
        publisher.publish(b"\0\0\1\x65", track="video", codec="h264", key=True, **times)
        publisher.publish(b"\1", track="aac", codec="aac", key=True, **times)

    publish(1)
    publish(2)
    publisher.gap()
    publish(3)
    with PacketRingReader.open_latest(tmp_path, "cam0", "source") as ring:
        headers = [header for header, _ in ring.since(0)]
    publisher.close()
    for track in ("video", "aac"):
        assert [header.index for header in headers if header.track == track] == [1, 2, 4]
    assert {header.run for header in headers} == {7}
