"""Recording a stream by hand: each recording is an output of its stream, and these commands drive it."""

import asyncio
import logging
from typing import Final

import msgspec

from schemas.errors import Conflict, InvalidValue, MeshError, NotFound, Unavailable, error_from_code
from schemas.ids import Id, compound_id
from schemas.recordings import RECORDING_OUTPUT, Recording, RecordingRequest, StartRecording, StopRecording
from schemas.resources import OutputActual, OutputSpec, StreamActual, StreamSpec
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION, command, state_key
from services.publisher.catch_up import check_preroll
from services.publisher.disk_room import check_room
from services.publisher.ended_recordings import ENDED, EndedRecordings, recording_of
from services.publisher.file_limits import check_limits
from services.publisher.file_set import INDEXED
from services.publisher.outputs import OUTPUTS, format_of, make_output
from services.publisher.renditions import check_rendition
from services.publisher.settings import PublisherSettings
from shared.bus import Endpoint, Entry
from shared.desired import Desired
from shared.service import Context
from shared.state import StateMirrors, read_entry

_log = logging.getLogger(__name__)

_HAS_PICTURES: Final = frozenset({"live", "frozen"})
# What capture has answered to a `start` reaches this copy of the state a moment later.
_NEWS_SECONDS: Final = 1.0
_REMOVE_SECONDS: Final = 5.0  # a closed file is let go of at once

Outputs = Desired[OutputSpec, OutputActual]
Streams = Desired[StreamSpec, StreamActual]


class Recordings:
    """Any publisher answers; the one on the stream's node writes."""

    def __init__(
        self, context: Context[PublisherSettings], mirrors: StateMirrors, outputs: Outputs, streams: Streams
    ) -> None:
        self._context, self._mirrors = context, mirrors
        self._outputs, self._streams = outputs, streams
        self._ended = EndedRecordings(mirrors)

    def endpoints(self, service: str) -> list[Endpoint]:
        return [
            Endpoint(command(service, "start-recording"), StartRecording, Recording, self.start),
            Endpoint(command(service, "recording"), RecordingRequest, Recording, self.ask),
            Endpoint(command(service, "stop-recording"), StopRecording, Recording, self.stop),
        ]

    async def start(self, request: StartRecording) -> Recording:
        """Record a live stream; answers when the first packets are written, or after `wait_s` with what is.

        Raises:
            NotFound: there is no such stream or rendition, or no folder for recordings.
            Conflict: the stream is not live, or is being recorded.
            InvalidValue: the destination can never work.
            OutOfSpace: the disk has no room.
            Unavailable: no publisher runs on the stream's node.
        """
        found = await self._streams.find(request.stream)
        if found is None:
            raise NotFound(f"stream {request.stream!r} does not exist; start it first with capture.start")
        stream = await self._live(request.stream)
        node = found[0].node or self._context.node
        self._check_node(request.stream, node)
        spec = OutputSpec(
            stream=request.stream,
            output=RECORDING_OUTPUT,
            to=request.to,
            rendition=request.rendition or _rendition(stream, request.to),
            node=node,
            preroll=request.preroll,
            segment=request.segment,
            segment_bytes=request.segment_bytes,
        )
        check_limits(spec, format_of(spec, spec.to))
        check_preroll(spec)
        if format_of(spec, spec.to) not in INDEXED:
            raise InvalidValue("to", spec.to.partition(":")[0], "a recording goes to file://….mp4, .ts or .mkv")
        await check_rendition(self._mirrors, spec.stream, spec.rendition, stream)
        if node == self._context.node:  # another node has folders of its own; its publisher judges
            settings = self._context.settings.outputs
            make_output(spec, spec.to, settings)
            await asyncio.to_thread(check_room, spec, spec.to, settings)
        output_id = compound_id(request.stream, RECORDING_OUTPUT)
        await self._clear(output_id)
        try:
            revision = await self._outputs.put(output_id, spec, 0)
        except Conflict:  # somebody was faster
            raise self._already(output_id) from None
        actual = await self._outputs.wait_settled(output_id, revision, request.wait_s)
        if actual is not None and actual.error is not None and not actual.bytes_written:
            await self._withdraw(output_id, revision)
            raise error_from_code(actual.error.code, actual.error.message)
        if actual is None and await self._outputs.read(output_id) is None:  # it was stopped before it had begun
            return self._nothing(request.stream)
        latest = actual or self._outputs.actual(output_id)
        return self._told(spec, latest if latest and latest.revision >= revision else None)

    async def ask(self, request: RecordingRequest) -> Recording:
        """How the recording of a stream is doing; of one that was stopped a while ago, what it was."""
        output_id = compound_id(request.stream, RECORDING_OUTPUT)
        found = await self._outputs.find(output_id)
        return self._told(found[0], self._outputs.actual(output_id)) if found else self._nothing(request.stream)

    async def stop(self, request: StopRecording) -> Recording:
        """Close the file properly and tell what is in it.

        Raises:
            NotFound: there is no recording.
            Unavailable: its publisher has not closed the file in time; stopping again is harmless.
        """
        output_id = compound_id(request.stream, RECORDING_OUTPUT)
        found = await self._outputs.find(output_id)
        if found is None:
            raise NotFound(f"{request.stream} is not being recorded; begin with publisher.start-recording")
        spec, revision = found
        if not spec.finish:
            try:
                revision = await self._outputs.put(output_id, msgspec.structs.replace(spec, finish=True), revision)
            except Conflict:  # somebody else ends it at this moment
                found = await self._outputs.read(output_id)
                if found is None or not found[0].finish:
                    return self._nothing(request.stream)
                revision = found[1]
        actual = await self._finished(output_id, revision, request.wait_s)
        if actual is None:
            if await self._outputs.read(output_id) is None:  # who else ended it has taken it away, too
                return self._nothing(request.stream)
            raise Unavailable(
                f"the publisher on node {spec.node} has not closed the recording of {request.stream} within "
                f"{request.wait_s:g} s; nothing is lost, give publisher.stop-recording again"
            )
        await self._withdraw(output_id, revision)
        return recording_of(actual)

    def _told(self, spec: OutputSpec, actual: OutputActual | None) -> Recording:
        if actual is None:
            return Recording(stream=spec.stream, recording=True, rendition=spec.rendition)
        return recording_of(actual)

    def _nothing(self, stream: Id) -> Recording:
        """It is not being recorded: what the last recording was."""
        return self._ended.of(stream) or Recording(stream=stream, recording=False)

    def _check_node(self, stream: Id, node: Id) -> None:
        nodes = {presence.node for presence in self._mirrors.present(self._context.service)} | {self._context.node}
        if node not in nodes:
            raise Unavailable(f"no publisher runs on node {node}, where {stream} is; start one there")

    async def _live(self, stream: Id) -> StreamActual:
        key = state_key("capture", stream)

        def live(entries: dict[str, Entry]) -> bool:
            actual = read_entry(entries.get(key), StreamActual)
            return actual is not None and actual.state in _HAS_PICTURES

        await self._mirrors.actual.wait_for(live, _NEWS_SECONDS)
        actual = self._streams.actual(stream)
        if actual is None or actual.state not in _HAS_PICTURES:
            state = actual.state if actual else "not taken up by capture yet"
            why = f": {actual.error.message}" if actual and actual.error else ""
            raise Conflict(f"stream {stream} is {state}{why}; only a live stream can be recorded")
        return actual

    async def _finished(self, output_id: str, revision: int, timeout_seconds: float) -> OutputActual | None:
        key = state_key("publisher", output_id)

        def finished(entries: dict[str, Entry]) -> bool:
            actual = read_entry(entries.get(key), OutputActual)
            return actual is not None and actual.revision >= revision and actual.state in ENDED

        done = await self._mirrors.actual.wait_for(finished, timeout_seconds)
        return self._outputs.actual(output_id) if done else None

    async def _clear(self, output_id: str) -> None:
        """Take a recording away that has ended; refuse where one is under way."""
        found = await self._outputs.find(output_id)
        if found is None:
            return
        revision, actual = found[1], self._outputs.actual(output_id)
        if actual is None or actual.revision < revision or actual.state not in ENDED:
            raise self._already(output_id)
        await self._withdraw(output_id, revision)

    def _already(self, output_id: str) -> Conflict:
        actual = self._outputs.actual(output_id)
        where = f" to {actual.file}" if actual and actual.file else ""
        stream = output_id.partition("--")[0]
        return Conflict(f"{stream} is being recorded{where} already; end that with publisher.stop-recording")

    async def _withdraw(self, output_id: str, revision: int) -> None:
        """Best effort: what stays is finished, says the same again, and is taken away by the next start. Only what it
        was at `revision`: the next one may have begun."""
        try:
            if await self._outputs.remove(output_id, revision) is not None:
                await self._outputs.wait_gone(output_id, revision, _REMOVE_SECONDS)
        except MeshError as error:
            _log.warning("%s stays in the list of outputs: %s", output_id, error)


def _rendition(stream: StreamActual, to: str) -> Id:
    """The source's own packets where a file takes them: no picture is encoded a second time."""
    codec = stream.video.codec if stream.video else ""
    output = OUTPUTS[format_of(OutputSpec(stream=stream.stream, output=RECORDING_OUTPUT, to=to), to)]
    carried = "video" in stream.source_tracks and codec in output.video_codecs
    return SOURCE_RENDITION if carried else DEFAULT_RENDITION
