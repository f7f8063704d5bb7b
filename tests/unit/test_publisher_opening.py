"""Where an output begins: at a key picture, with all the sound that belongs to it."""

import pytest
from msgspec.structs import replace

from schemas.packets import PacketHeader
from services.publisher.opening import Opening, TrackBoard
from services.publisher.packet_queue import QueuedPacket
from tests.support.packets import clip

pytestmark = pytest.mark.unit

SOUND_OF_A_NEW_RENDITION_MS = 150  # as far as sound is ahead while an encoder is being opened


def opening() -> Opening:
    return Opening(TrackBoard(("h264",), ("aac",), ("video", "aac")), wait_seconds=1.0, max_bytes=1 << 20)


def late_first_picture(run_of_sound: int = 1) -> tuple[list[QueuedPacket], PacketHeader]:
    """Packets in the order of a rendition that begins: sound first, then the picture of the same moment."""
    packets = [QueuedPacket(made.header, memoryview(made.payload)) for made in clip(1.0, tracks=("video", "aac"))]
    key = packets.pop(next(index for index, one in enumerate(packets) if one.header.track == "video"))
    ahead_ns = key.header.pts_ns + SOUND_OF_A_NEW_RENDITION_MS * 1_000_000
    sound = [
        QueuedPacket(_of_run(one.header, run_of_sound), one.payload)
        for one in packets
        if one.header.track == "aac" and one.header.pts_ns < ahead_ns
    ]
    return [*sound, key], key.header


def _of_run(header: PacketHeader, run: int) -> PacketHeader:
    return replace(header, run=run)


def test_sound_that_overtook_its_picture_is_kept() -> None:
    begin = opening()
    packets, key = late_first_picture()
    for packet in packets:
        begin.add(packet)
    assert begin.held[0].header == key
    sound = [packet.header.pts_ns for packet in begin.held[1:]]
    assert sound == sorted(one.header.pts_ns for one in packets[:-1] if one.header.pts_ns >= key.pts_ns)
    assert len(sound) >= SOUND_OF_A_NEW_RENDITION_MS // 22 - 1
    assert begin.skipped == len(packets) - len(begin.held)
    assert begin.ready


def test_sound_of_an_earlier_run_is_not() -> None:
    begin = opening()
    packets, key = late_first_picture(run_of_sound=0)
    for packet in packets:
        begin.add(packet)
    assert [packet.header for packet in begin.held] == [key]
