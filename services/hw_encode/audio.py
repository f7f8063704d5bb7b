"""The audio thread of one rendition: raw sound in, Opus and AAC packets out."""

import contextlib
import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from schemas.frames import AudioHeader
from schemas.resources import RenditionSpec
from schemas.units import NS_PER_SECOND, parse_bitrate
from shared.packets import PacketPublisher

log = logging.getLogger(__name__)

_QUEUE_BLOCKS = 100  # 2 s of 20 ms blocks; an encoder behind by more has lost the moment anyway
_WAIT_SECONDS = 0.5
_SAMPLE_BYTES = 2
_SAMPLE_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)  # what Opus takes (RFC 6716 section 2); capture gives 48 kHz
_MAX_CHANNELS = 2  # mono and stereo: more has an order that nobody tells
# A block that starts this far from where the last one ended is a gap, not rounding.
_GAP_NS = 30_000_000
# A hole up to this long is filled with silence; anything else is another timeline, and the encoders start afresh.
_MAX_SILENCE_NS = 1_000_000_000

Block = tuple[AudioHeader, memoryview]


class AudioEncoder:
    """Encodes the sound of one stream into both tracks until stopped."""

    def __init__(self, spec: RenditionSpec, publisher: PacketPublisher) -> None:
        self._spec = spec
        self._publisher = publisher
        self._queue: queue.Queue[Block | None] = queue.Queue(_QUEUE_BLOCKS)
        """None wakes a thread that shall end."""
        self._stop = threading.Event()
        self._tracks: tuple[_Track, ...] = ()
        self._form = (0, 0)
        self._next_ns = 0
        self._last: AudioHeader | None = None
        self.dropped_blocks = 0
        self._thread = threading.Thread(target=self._run, name=f"audio {spec.stream}--{spec.rendition}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def feed(self, header: AudioHeader, samples: memoryview) -> None:
        """Hand over one block of interleaved s16 samples; never blocks.

        A block that is not what its header says is dropped; when the queue is full the oldest is; both are counted.
        """
        if not _takes(header) or len(samples) != header.samples * header.channels * _SAMPLE_BYTES:
            self.dropped_blocks += 1
            return
        while True:
            try:
                self._queue.put_nowait((header, samples))
                return
            except queue.Full:
                self.dropped_blocks += 1
                try:
                    self._queue.get_nowait()
                except queue.Empty:
                    continue

    def stop(self, timeout_seconds: float) -> None:
        """End the thread; blocks for at most `timeout_seconds`."""
        self._stop.set()
        with contextlib.suppress(queue.Full):  # it has blocks to wake it
            self._queue.put_nowait(None)
        self._thread.join(timeout_seconds)

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                block = self._queue.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                continue
            if block is None:
                continue
            try:
                self._encode(*block)
            except Exception:  # whatever it was, it must not end the thread silently: the encoders start afresh
                log.exception("sound not encoded", extra={"stream": self._spec.stream})
                self._tracks = ()
        if self._last:  # whoever records has the last moment too
            self._finish(self._last)

    def _encode(self, header: AudioHeader, samples: memoryview) -> None:
        form = (header.sample_rate, header.channels)
        hole_ns = header.pts_ns - self._next_ns
        if not self._tracks or form != self._form or not -_GAP_NS <= hole_ns <= _MAX_SILENCE_NS:
            self._finish(header)
            self._form = form
            self._next_ns = header.pts_ns
            bitrate = parse_bitrate(self._spec.audio_bitrate, "audio_bitrate")
            self._tracks = (
                _Track("opus", header, bitrate),
                _Track("aac", header, bitrate, self._spec.audio_sample_rate),
            )
        elif hole_ns > _GAP_NS:
            # A fresh AAC encoder would leave a longer hole than the one there is.
            silence = np.zeros((1, hole_ns * header.sample_rate // NS_PER_SECOND * header.channels), np.int16)
            for track in self._tracks:
                self._publish(track, track.encode(silence), header)
            self._next_ns = header.pts_ns
        self._next_ns += header.samples * NS_PER_SECOND // header.sample_rate
        self._last = header
        pcm = np.frombuffer(samples, np.int16).reshape(1, -1)
        for track in self._tracks:
            self._publish(track, track.encode(pcm), header)

    def _finish(self, header: AudioHeader) -> None:
        tracks, self._tracks = self._tracks, ()
        for track in tracks:
            self._publish(track, track.finish(), header)

    def _publish(self, track: "_Track", packets: Iterable[tuple[bytes, dict[str, Any]]], header: AudioHeader) -> None:
        for payload, fields in packets:
            self._publisher.publish(
                payload,
                track=track.name,
                codec=track.name,
                key=True,
                epoch=header.epoch,
                captured_ns=header.captured_ns,
                **fields,
            )


def _takes(header: AudioHeader) -> bool:
    return header.sample_format == "s16" and header.sample_rate in _SAMPLE_RATES and header.channels <= _MAX_CHANNELS


class _Track:
    """One encoder, with its own small re-blocking: Opus takes 20 ms, AAC 1024 samples."""

    def __init__(self, name: Literal["opus", "aac"], header: AudioHeader, bitrate: int, rate: int = 0) -> None:
        """`rate`: samples a second of its packets; 0: those of the sound."""
        self.name = name
        self._sound_rate = header.sample_rate
        self._rate = rate or header.sample_rate
        self._channels = header.channels
        self._layout = "mono" if header.channels == 1 else "stereo"
        self._base_ns = header.pts_ns
        self._fed_samples = 0
        context = av.CodecContext.create("libopus" if name == "opus" else "aac", "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = self._rate
        context.layout = self._layout
        context.format = "s16" if name == "opus" else "fltp"
        context.time_base = Fraction(1, self._rate)
        context.bit_rate = bitrate
        if name == "opus":
            # 20 ms frames; middle complexity costs half the CPU of the highest and nobody hears it at 128 kbit/s.
            context.options = {"frame_duration": "20", "compression_level": "5"}
        context.open()
        self._context = context
        frame_size = self._rate // 50 if name == "opus" else 1024
        self._resampler = av.AudioResampler(
            format=context.format, layout=self._layout, rate=self._rate, frame_size=frame_size
        )

    def encode(self, pcm: "np.ndarray[Any, np.dtype[np.int16]]") -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Feed interleaved samples, shape (1, samples x channels); yields (payload, packet header fields)."""
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout=self._layout)
        frame.sample_rate = self._sound_rate
        frame.time_base = Fraction(1, self._sound_rate)
        frame.pts = self._fed_samples
        self._fed_samples += frame.samples
        for block in self._resampler.resample(frame):
            yield from self._described(self._context.encode(block))

    def finish(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """What is still inside; the track is of no use afterwards."""
        for block in self._resampler.resample(None):
            yield from self._described(self._context.encode(block))
        yield from self._described(self._context.encode(None))

    def _described(self, packets: "Iterable[av.Packet[Any]]") -> Iterator[tuple[bytes, dict[str, Any]]]:
        for packet in packets:
            if packet.pts is None:
                continue
            pts_ns = self._base_ns + packet.pts * NS_PER_SECOND // self._rate
            yield (
                bytes(packet),
                {
                    "pts_ns": pts_ns,
                    "dts_ns": pts_ns,
                    "duration_ns": (packet.duration or 0) * NS_PER_SECOND // self._rate,
                    "sample_rate": self._rate,
                    "channels": self._channels,
                    "extradata": self._context.extradata or b"",
                },
            )
