"""Sound of a source for viewers: AAC in, Opus out, in a thread of its own.

Here and not in hw-encode: that makes sound from what capture decodes, and nobody shall decode a camera's pictures only
because its sound is AAC.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from msgspec.structs import replace

from schemas.packets import PacketHeader
from schemas.units import NS_PER_SECOND
from services.webrtc_gateway.egress.source import Deliver
from shared.rtp.opus import OPUS_CLOCK_HZ

logger = logging.getLogger(__name__)

_QUEUE_PACKETS = 64  # more than a second of AAC; whoever is behind by more has lost the moment anyway
_FRAME_SECONDS = Fraction(20, 1000)  # what browsers send each other
_FRAME_SAMPLES = int(OPUS_CLOCK_HZ * _FRAME_SECONDS)
_BITRATE = 128_000  # as hw-encode's sound
_GAP_NS = 30_000_000  # packets that begin this far from where the last one ended are another piece of sound
_STOP_SECONDS = 1.0


class OpusFromAac:
    """`feed` it AAC packets in the event loop; Opus packets go to `deliver` there, until `close`."""

    def __init__(self, deliver: Deliver, drops: Counter[str]) -> None:
        self._deliver, self._drops = deliver, drops
        self._loop = asyncio.get_running_loop()
        self._queue: queue.Queue[tuple[PacketHeader, bytes] | None] = queue.Queue(_QUEUE_PACKETS)
        """None ends the thread."""
        self._closed = False
        self._index = 0
        self._piece: _Piece | None = None
        self._thread = threading.Thread(target=self._run, name="opus-from-aac", daemon=True)
        self._thread.start()

    def feed(self, header: PacketHeader, payload: memoryview) -> None:
        """Hand over one AAC frame; never blocks. When the queue is full the frame is dropped and counted."""
        try:
            self._queue.put_nowait((header, bytes(payload)))  # a copy: the message's memory is the bus's
        except queue.Full:
            self._drops["sound_behind"] += 1

    async def close(self) -> None:
        """Nothing is delivered any more."""
        self._closed = True
        with contextlib.suppress(queue.Full):  # it has packets to wake it
            self._queue.put_nowait(None)
        await asyncio.to_thread(self._thread.join, _STOP_SECONDS)

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            packet = self._queue.get()
            if packet is None:
                return
            try:
                self._transcode(*packet)
            except av.FFmpegError as error:
                self._piece = None
                self._tell(lambda error=error: self._broken(error))
            except Exception:  # a bug must not end the sound of all viewers in silence: the next packet begins afresh
                self._piece = None
                logger.exception("sound not transcoded")

    def _transcode(self, header: PacketHeader, frame: bytes) -> None:
        if self._piece is None or not self._piece.goes_on_with(header):
            if not header.extradata:
                return  # nobody can tell yet what it is
            self._piece = _Piece(header)
        for payload, fields in self._piece.transcode(header, frame):
            self._index += 1
            opus = replace(
                header,
                track="opus",
                codec="opus",
                index=self._index,
                key=True,
                extradata=b"",
                part=0,
                parts=1,
                **fields,
            )
            self._tell(lambda opus=opus, payload=payload: self._hand_over(opus, payload))

    def _tell(self, what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(what)

    # -- in the event loop -----------------------------------------------------------------------------------

    def _hand_over(self, header: PacketHeader, payload: bytes) -> None:
        if not self._closed:
            self._deliver(header, memoryview(payload))

    def _broken(self, error: av.FFmpegError) -> None:
        self._drops["sound_malformed"] += 1
        logger.debug("sound not decoded: %s", error)


class _Piece:
    """A decoder and an encoder for sound without a gap."""

    def __init__(self, header: PacketHeader) -> None:
        self._run, self._configuration = header.run, header.extradata
        self._base_ns = self._next_ns = header.pts_ns
        decoder = av.CodecContext.create("aac", "r")
        assert isinstance(decoder, AudioCodecContext)
        decoder.extradata = header.extradata
        decoder.thread_count = 1
        self._decoder = decoder
        self._channels = 1 if header.channels == 1 else 2
        layout = "mono" if self._channels == 1 else "stereo"  # more channels are mixed into two
        self._resampler = av.AudioResampler("s16", layout, OPUS_CLOCK_HZ, frame_size=_FRAME_SAMPLES)
        encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(encoder, AudioCodecContext)
        encoder.sample_rate, encoder.layout, encoder.format = OPUS_CLOCK_HZ, layout, "s16"
        encoder.time_base = Fraction(1, OPUS_CLOCK_HZ)
        encoder.bit_rate = _BITRATE
        # Middle complexity costs half the CPU of the highest and nobody hears it at this rate.
        encoder.options = {"frame_duration": "20", "compression_level": "5"}
        encoder.open()
        self._encoder = encoder
        self._decoded_samples = self._samples = 0

    def goes_on_with(self, header: PacketHeader) -> bool:
        same = header.run == self._run and header.extradata in (b"", self._configuration)
        return same and abs(header.pts_ns - self._next_ns) <= _GAP_NS

    def transcode(self, header: PacketHeader, frame: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Opus packets and what their headers say.

        Raises:
            av.FFmpegError: it is no AAC.
        """
        for sound in self._decoder.decode(av.Packet(frame)):
            # The first frame of a decoder may be silent, but it is as long as the others.
            self._next_ns = header.pts_ns + sound.samples * NS_PER_SECOND // sound.sample_rate
            # Times are told by what went in before.
            sound.pts, sound.time_base = self._decoded_samples, Fraction(1, sound.sample_rate)
            self._decoded_samples += sound.samples
            for block in self._resampler.resample(sound):
                block.pts, block.time_base = self._samples, Fraction(1, OPUS_CLOCK_HZ)
                self._samples += block.samples
                yield from self._described(self._encoder.encode(block))

    def _described(self, packets: "Iterable[av.Packet[Any]]") -> Iterator[tuple[bytes, dict[str, Any]]]:
        for packet in packets:
            pts_ns = self._base_ns + (packet.pts or 0) * NS_PER_SECOND // OPUS_CLOCK_HZ
            yield (
                bytes(packet),
                {
                    "pts_ns": pts_ns,
                    "dts_ns": pts_ns,
                    "duration_ns": int(_FRAME_SECONDS * NS_PER_SECOND),
                    "sample_rate": OPUS_CLOCK_HZ,
                    "channels": self._channels,
                },
            )
