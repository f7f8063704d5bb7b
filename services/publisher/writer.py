"""One output at work: a thread that takes packets from its own queue and keeps the destination going.

libav's calls block, so every output has a thread and a queue of its own and none can hold up another.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from schemas.errors import BadRequest, ErrorInfo, InternalError, MeshError, OutOfSpace
from schemas.ids import compound_id
from schemas.packets import PacketHeader, Track
from schemas.recordings import RECORDING_OUTPUT
from schemas.resources import OutputSpec, OutputState
from services.publisher.file_set import FileSet
from services.publisher.opening import TrackBoard
from services.publisher.outputs import make_output
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.packet_queue import PacketQueue
from services.publisher.progress import OutputProgress, Position
from services.publisher.pump import Pump
from services.publisher.segments import SegmentLimits
from services.publisher.timeline import Place
from shared.backoff import Backoff
from shared.metrics import STAGE_BOUNDS_SECONDS, Distribution

_log = logging.getLogger(__name__)

_REPORT_SECONDS = 1.0  # how often the number of bytes is told while nothing else changes
_ABORT_SECONDS = 1.0  # a killed process is gone in milliseconds


class OutputWriter:
    """Writes one rendition to one destination until it is stopped, and tries again when that fails.

    `on_state` and `on_event` are called from the writer's thread, the latter from others of its own, too; so is
    `on_need_key`, when a key picture would end a wait.
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
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """`url` is the full one, secrets included, and is shown nowhere. Nothing is opened yet.

        `expected_tracks`: what the rendition has, when known; then the start waits for sound only if there is any.
        `on_event`: the event's name and detail.

        Raises:
            InvalidValue: the URL, or another field, can never work.
        """
        unopened = make_output(spec, url, settings)
        self._spec, self._url, self._settings = spec, url, settings
        self._on_state = on_state
        self._queue = PacketQueue(settings.queue_bytes, settings.queue_packets)
        self._board = TrackBoard(
            unopened.video_codecs, unopened.audio_tracks, expected_tracks, reordered=unopened.takes_reordered
        )
        self._files = FileSet(spec, url, settings, on_event or _ignore)
        limits = SegmentLimits.of(spec) if self._files.indexed else SegmentLimits()
        self._on_need_key = on_need_key or (lambda: None)
        self._pump = Pump(self.id, self._queue, self._board, settings, limits, self._on_need_key)
        self._backoff = backoff or Backoff()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"output-{self.id}", daemon=True)
        self._progress = OutputProgress(state="waiting", since_ns=time.time_ns())
        self._error: ErrorInfo | None = None
        self.latency = Distribution(STAGE_BOUNDS_SECONDS)
        """From capture of a picture to when it was handed to the destination."""
        self._reported_at = 0.0
        self._retries = self._begun = 0
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
        self._files.start()
        self._report("waiting")
        self._thread.start()

    def feed(self, header: PacketHeader, payload: memoryview) -> None:
        """Hand over a whole access unit or sound packet, in the producer's order. Never blocks."""
        self._queue.put(header, payload)

    def feed_when_room(self, header: PacketHeader, payload: memoryview, timeout_seconds: float) -> None:
        """`feed`, after waiting for room in the queue; from any thread but the event loop's."""
        self._queue.put_when_room(header, payload, timeout_seconds)

    def deleted(self, file: Path) -> None:
        """Somebody has deleted a closed file of this output; from any thread."""
        self._files.gone(file)

    def stop(self, timeout_seconds: float) -> bool:
        """Write what is queued, finish the destination, end the thread; blocks.

        False: not done within the time; what is not written by then is lost, and a peer is left without a farewell.
        """
        self._queue.close()
        self._stopping.set()
        if self._thread.ident is None:  # never started
            return True
        self._thread.join(timeout_seconds)
        stopped = not self._thread.is_alive()
        if not stopped:
            if self._output is not None:
                self._output.abort()
            self._thread.join(_ABORT_SECONDS)
        self._files.stop()
        return stopped

    def finish(self, timeout_seconds: float) -> bool:
        """As `stop`, and read what the files hold: state `finished`. Also instead of `start`, after a crash."""
        stopped = self.stop(timeout_seconds)
        if stopped:
            self._files.finish()
            self._error = self._files.error or self._error  # of what has failed since: pictures are missing
            self._report("finished")
        return stopped

    def resume_position(self) -> Position | None:
        """Where this output's recording safely ended, after a crash; None for a push, or when it never began.

        Before `start`; takes up the files that were written until then, as far as they can be read. Blocks.
        """
        return self._files.load()

    @property
    def ended(self) -> bool:
        """An earlier run of this service has ended this recording, and why."""
        return self._files.error is not None

    @property
    def begun(self) -> bool:
        """There are files of this output."""
        return bool(self._files.names)

    def forget_position(self) -> None:
        """After `stop`: the output is ended for good and must not be resumed."""
        self._files.forget()
        try:
            (self._output or make_output(self._spec, self._url, self._settings)).end()
        except MeshError as error:  # it is gone all the same
            _log.warning("output %s: %s", self.id, error.message)

    def _run(self) -> None:
        try:
            while not self._queue.finished or self._pump.carried:
                try:
                    self._write_one()
                except BadRequest as error:  # trying again cannot help
                    self._fail(error)
                    return
                except OutOfSpace as error:
                    self._files.full(error.info)
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
        """One file or one connection: from a key picture until the source ends, its parameters change or it is long
        enough."""
        held = self._pump.collect()
        if not held:
            return
        tracks, first = self._board.chosen, held[0].header
        if self._board.missing:
            _log.warning("output %s goes on without %s: not seen in time", self.id, ", ".join(self._board.missing))
        self._files.check_room()
        output = self._output = make_output(self._spec, self._url, self._settings)
        output.dropped, output.on_need_key = self._pump.dropped, self._on_need_key
        self._tracks = tuple(tracks)
        if not self._files.indexed or self._progress.state != "running":  # the next file of many is no news
            self._report("connecting")
        try:
            self._files.expect(output, first)
            output.open(tracks, first.captured_ns)
            self._begun += 1
            self._files.begin(output, tracks, first)
            self._pump.run(output, held, lambda header, place: self._written(output, header, place), self._silent)
        except MeshError:
            with contextlib.suppress(MeshError):  # the first error is the one to tell
                output.close()
            raise
        else:
            output.close()
        finally:
            if output.file:
                self._files.closed(output, resumable=self._stopping.is_set())
            else:
                self._bytes_before += output.bytes_written
            output.bytes_written = 0

    def _silent(self) -> None:
        if self._progress.state == "running":
            self._report("waiting")

    def _written(self, output: Output, header: PacketHeader, place: Place) -> None:
        self._files.written(output, header, place)
        if header.track == "video":
            self.latency.observe(max(0.0, (time.time_ns() - header.captured_ns) / 1e9))
        if self._progress.state != "running" and output.confirmed:
            self._backoff.succeeded()
            self._error = None
            self._report("running")
        elif time.monotonic() - self._reported_at >= _REPORT_SECONDS:
            self._report(self._progress.state)

    def _wait_to_retry(self, error: MeshError) -> bool:
        """Note the failure and wait; False when the writer is being stopped."""
        self._queue.refuse("retrying")
        self._pump.carried.clear()
        self._retries += 1
        self._error = error.info
        delay_seconds = self._backoff.next_seconds()
        _log.info("output %s failed, next try in %.1f s: %s", self.id, delay_seconds, error.message)
        self._report("retrying")
        if self._stopping.wait(delay_seconds):
            return False
        self._queue.accept()
        return True

    def _end(self, error: OutOfSpace) -> None:
        """A recording by hand is over when the disk is full: what is deleted later shall not begin it again."""
        _log.error("output %s ends: %s", self.id, error.message)
        self._queue.refuse("disk_full")
        self._files.end(error.info)
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
            file=output.file if output and state != "finished" else next(reversed(self._files.names), ""),
            bytes_written=self._files.size_bytes + self._bytes_before + (output.bytes_written if output else 0),
            started_ns=self._files.started_ns,
            duration_ns=self._files.duration_ns,
            recorded=self._files.names,
            video=self._files.video if state == "finished" else None,
            retries=self._retries,
            files=self._begun,
            tracks=self._tracks,
            missing=self._board.missing if self._tracks else (),
            dropped=dict(self._pump.dropped + self._queue.drops()),
            deleted=dict(self._files.deleted),
            rebased=self._pump.rebased,
        )
        self._on_state(self._progress)


def _ignore(_name: str, _detail: dict[str, Any]) -> None:
    """Where nobody wants to hear of events."""
