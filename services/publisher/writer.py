"""One output at work: a thread that takes packets from its own queue and keeps the destination going.

libav's calls block, so every output has a thread and a queue of its own and none can hold up another.
"""

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection

from schemas.errors import BadRequest, Conflict, ErrorInfo, InternalError, MeshError, OutOfSpace
from schemas.ids import compound_id
from schemas.packets import PacketHeader, Track
from schemas.recordings import RECORDING_OUTPUT
from schemas.resources import OutputSpec, OutputState
from services.publisher.opening import Opening, TrackBoard
from services.publisher.outputs import make_output
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.packet_queue import PacketQueue, QueuedPacket
from services.publisher.progress import OutputProgress, Position, SafePosition
from services.publisher.recorded_files import RecordedFiles
from services.publisher.timeline import LONGEST_GAP_NS, Timeline
from shared.backoff import Backoff

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.25  # how soon a thread without packets notices that a wait is over
_REPORT_SECONDS = 1.0  # how often the number of bytes is told while nothing else changes
_ABORT_SECONDS = 1.0  # a killed process is gone in milliseconds
_SILENT_SECONDS = 3.0  # no picture for so long: the output waits for its source, and says so


class OutputWriter:
    """Writes one rendition to one destination until it is stopped, and tries again when that fails.

    `on_state` is called from the writer's thread; so is `on_need_key`, when a key picture would end a wait.
    """

    def __init__(
        self,
        spec: OutputSpec,
        url: str,
        settings: OutputSettings,
        on_state: Callable[[OutputProgress], None],
        *,
        expected_tracks: Collection[Track] | None = None,
        on_need_key: Callable[[], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """`url` is the full one, secrets included, and is shown nowhere. Nothing is opened yet.

        `expected_tracks`: what the rendition has, when known; then the start waits for sound only if there is any.

        Raises:
            InvalidValue: the URL can never work.
        """
        unopened = make_output(spec, url, settings)
        self._spec, self._url, self._settings = spec, url, settings
        self._on_state, self._on_need_key = on_state, on_need_key or (lambda: None)
        self._queue = PacketQueue(settings.queue_bytes, settings.queue_packets)
        self._board = TrackBoard(unopened.video_codecs, unopened.audio_tracks, expected_tracks)
        self._backoff = backoff or Backoff()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"output-{self.id}", daemon=True)
        state_dir = settings.state_dir if url.startswith("file:") else None
        self._safe = SafePosition(state_dir / f"{self.id}.json" if state_dir else None)
        self._recorded = RecordedFiles(state_dir / f"{self.id}.files.json" if state_dir else None, url)
        self._carried: list[QueuedPacket] = []
        """The key picture that a new file begins with."""
        self._progress = OutputProgress(state="waiting", since_ns=time.time_ns())
        self._error: ErrorInfo | None = None
        self._reported_at = 0.0
        self._dropped: Counter[str] = Counter()
        self._rebased = self._retries = self._files = 0
        self._bytes_before = 0
        """Bytes sent by the connections of this writer that are closed."""
        self._output: Output | None = None
        self._tracks: tuple[Track, ...] = ()

    @property
    def id(self) -> str:
        return compound_id(self._spec.stream, self._spec.output)

    @property
    def progress(self) -> OutputProgress:
        """What was last told to `on_state`; may be read from any thread."""
        return self._progress

    def start(self) -> None:
        """Begin to take packets."""
        self._report("waiting")
        self._thread.start()

    def feed(self, header: PacketHeader, payload: memoryview) -> None:
        """Hand over a whole access unit or sound packet, in the producer's order. Never blocks."""
        self._queue.put(header, payload)

    def stop(self, timeout_seconds: float) -> bool:
        """Write what is queued, finish the destination, end the thread; blocks.

        False: not done within the time; what is not written by then is lost, and a peer is left without a farewell.
        """
        self._queue.close()
        self._stopping.set()
        if self._thread.ident is None:  # never started
            return True
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            return True
        if self._output is not None:
            self._output.abort()
        self._thread.join(_ABORT_SECONDS)
        return False

    def finish(self, timeout_seconds: float) -> bool:
        """As `stop`, and read what the files hold: state `finished`. Also instead of `start`, after a crash."""
        stopped = self.stop(timeout_seconds)
        if stopped:
            self._recorded.settle()
            self._error = self._recorded.error or self._error  # of what has failed since: pictures are missing
            self._report("finished")
        return stopped

    def resume_position(self) -> Position | None:
        """Where this output's recording safely ended, after a crash; None for a push, or when it never began.

        Before `start`; takes up the files that were written until then, as far as they can be read. Blocks.
        """
        self._recorded.load()
        return self._safe.load()

    @property
    def ended(self) -> bool:
        """An earlier run of this service has ended this recording, and why."""
        return self._recorded.error is not None

    @property
    def begun(self) -> bool:
        """There are files of this output."""
        return bool(self._recorded.names)

    def forget_position(self) -> None:
        """After `stop`: the output is ended for good and must not be resumed."""
        self._safe.forget()
        self._recorded.forget()

    def _run(self) -> None:
        try:
            while not self._queue.finished or self._carried:
                try:
                    self._write_one()
                except BadRequest as error:  # trying again cannot help
                    self._fail(error)
                    return
                except OutOfSpace as error:
                    if self._spec.output == RECORDING_OUTPUT:
                        self._end(error)
                        return
                    if not self._wait_to_retry(error):
                        return
                except MeshError as error:
                    if not self._wait_to_retry(error):
                        return
            self._report(self._progress.state)  # with what the end has written
        except Exception as error:  # the thread's last words: a defect must be seen in the state, not only in the log
            _log.exception("output %s ends", self.id)
            self._fail(InternalError(f"output {self.id}: {type(error).__name__}; see the log of the publisher"))

    def _write_one(self) -> None:
        """One file or one connection: from a key picture until the source ends or its parameters change."""
        held = self._collect()
        if not held:
            return
        tracks = self._board.chosen
        if self._board.missing:
            _log.warning("output %s goes on without %s: not seen in time", self.id, ", ".join(self._board.missing))
        output = self._output = make_output(self._spec, self._url, self._settings)
        self._tracks = tuple(tracks)
        self._safe.begin()
        self._report("connecting")
        try:
            output.open(tracks, held[0].header.captured_ns)
            self._files += 1
            if output.file:
                self._recorded.begin(output.file, held[0].header.captured_ns)
            self._pump(output, held)
        except MeshError:
            with contextlib.suppress(MeshError):  # the first error is the one to tell
                output.close()
            raise
        else:
            output.close()
            self._safe.settle(output.settled_packets, output.file)
        finally:
            if output.file:
                self._recorded.settle()
            else:
                self._bytes_before += output.bytes_written
            output.bytes_written = 0

    def _collect(self) -> list[QueuedPacket]:
        """Packets from a key picture on, with which the output can be opened; none when the source has ended."""
        self._board.refused_codec = ""
        opening = Opening(self._board, self._settings.track_wait_seconds, self._settings.queue_bytes)
        for carried in self._carried:
            opening.add(carried)
        self._carried.clear()
        if not opening.held:
            self._on_need_key()
        while not opening.ready and not self._queue.finished:
            if (packet := self._queue.take(_TICK_SECONDS)) is not None:
                opening.add(packet)
            if self._board.refused_codec and not opening.held:
                raise Conflict(
                    f"output {self.id} cannot carry {self._board.refused_codec}; choose a rendition with "
                    f"{' or '.join(self._board.video_codecs)}"
                )
        self._dropped["waiting_for_key"] += opening.skipped
        return opening.held

    def _pump(self, output: Output, held: list[QueuedPacket]) -> None:
        timeline = Timeline(self._dropped)
        opened = self._board.chosen
        pending = deque(held)
        seen_at = time.monotonic()
        while pending or not self._queue.finished:
            packet = pending.popleft() if pending else self._queue.take(_TICK_SECONDS)
            if packet is None:
                if self._progress.state == "running" and time.monotonic() - seen_at > _SILENT_SECONDS:
                    self._report("waiting")
                continue
            header = packet.header
            self._board.note(packet)
            if header.track == "video":
                seen_at = time.monotonic()
                if header.key and (self._board.chosen != opened or timeline.gap_ns(header) > LONGEST_GAP_NS):
                    self._carried = [packet, *pending]
                    return
            elif header.track not in opened:  # sound that begins late is taken in with the next key picture
                if len(opened) == 1:  # else it is the other encoding of the same sound
                    self._dropped["track_not_open"] += 1
                continue
            rebased = timeline.rebased
            place = timeline.place(header)
            self._rebased += timeline.rebased - rebased
            if place is not None:
                output.write(header, packet.payload, place.pts_ns, place.dts_ns)
                if header.track == "video":
                    self._recorded.reached(place.pts_ns + header.duration_ns)
                self._written_one(output, header)

    def _written_one(self, output: Output, header: PacketHeader) -> None:
        self._safe.written(header)
        self._safe.settle(output.settled_packets, output.file)
        if self._progress.state != "running" and output.confirmed:
            self._backoff.succeeded()
            self._error = None
            self._report("running")
        elif time.monotonic() - self._reported_at >= _REPORT_SECONDS:
            self._report(self._progress.state)

    def _wait_to_retry(self, error: MeshError) -> bool:
        """Note the failure and wait; False when the writer is being stopped."""
        self._queue.refuse("retrying")
        self._carried.clear()
        self._retries += 1
        self._error = error.info
        delay_seconds = self._backoff.next_seconds()
        _log.warning("output %s failed, next try in %.1f s: %s", self.id, delay_seconds, error.message)
        self._report("retrying")
        if self._stopping.wait(delay_seconds):
            return False
        self._queue.accept()
        return True

    def _end(self, error: OutOfSpace) -> None:
        """A recording by hand is over when the disk is full: what is deleted later shall not begin it again."""
        _log.error("output %s ends: %s", self.id, error.message)
        self._queue.refuse("disk_full")
        self._recorded.end(error.info)
        self._error = error.info
        self._report("finished")

    def _fail(self, error: MeshError) -> None:
        self._queue.refuse("failed")
        self._error = error.info
        self._report("failed")

    def _report(self, state: OutputState) -> None:
        self._reported_at = time.monotonic()
        output = self._output
        self._progress = OutputProgress(
            state=state,
            since_ns=self._progress.since_ns if state == self._progress.state else time.time_ns(),
            error=self._error,
            file=output.file if output and state != "finished" else next(reversed(self._recorded.names), ""),
            bytes_written=self._recorded.size_bytes + self._bytes_before + (output.bytes_written if output else 0),
            started_ns=self._recorded.started_ns,
            duration_ns=self._recorded.duration_ns,
            recorded=self._recorded.names,
            video=self._recorded.video if state == "finished" else None,
            retries=self._retries,
            files=self._files,
            tracks=self._tracks,
            missing=self._board.missing if self._tracks else (),
            dropped=dict(self._dropped + self._queue.drops()),
            rebased=self._rebased,
        )
        self._on_state(self._progress)
