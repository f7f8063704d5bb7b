"""Commands that get at what one node has recorded: list, fetch in parts, delete."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.errors import InvalidValue
from schemas.ids import compound_id
from schemas.recordings import DeleteRecording, FetchFile, FilePart, ListRecordings, RecordedFiles, RecordingDeleted
from schemas.subjects import command
from schemas.units import parse_time
from services.publisher.catalogue import Catalogue
from services.publisher.settings import PublisherSettings
from shared.bus import Endpoint
from shared.service import Context

_FOREVER_NS: Final = (1 << 63) - 1
# Of a reply around its data: the name, which is 4 kB at most, and the other fields.
_REPLY_OVERHEAD_BYTES: Final = 8_192
_MAX_NAME_CHARACTERS: Final = 4_096


class Archive:
    """Only the publisher of the node answers: the files lie there."""

    def __init__(
        self,
        context: Context[PublisherSettings],
        catalogue: Catalogue,
        on_deleted: Callable[[str, Path], None] = lambda output_id, path: None,
    ) -> None:
        """`on_deleted` is told whose file is gone, and which."""
        self._context, self._catalogue, self._on_deleted = context, catalogue, on_deleted

    def endpoints(self, service: str) -> list[Endpoint]:
        node = self._context.node
        return [
            Endpoint(command(service, "recordings", node), ListRecordings, RecordedFiles, self.list),
            Endpoint(command(service, "fetch", node), FetchFile, FilePart, self.fetch),
            Endpoint(command(service, "delete-recording", node), DeleteRecording, RecordingDeleted, self.delete),
        ]

    async def list(self, request: ListRecordings) -> RecordedFiles:
        """The recorded files of this node, the oldest first.

        Raises:
            InvalidValue: a time is none, or the end lies before the start.
        """
        now_ns = time.time_ns()
        start_ns = parse_time(request.start, "start", now_ns) if request.start else 0
        end_ns = parse_time(request.end, "end", now_ns) if request.end else _FOREVER_NS
        if end_ns < start_ns:
            raise InvalidValue("end", request.end, "write a time after start")
        files, more = await asyncio.to_thread(
            self._catalogue.list,
            request.stream,
            start_ns,
            end_ns,
            min(request.limit, self._most_files),
            request.streams,
        )
        return RecordedFiles(node=self._context.node, files=tuple(files), more=more)

    async def fetch(self, request: FetchFile) -> FilePart:
        """A part of a recorded file, as it is at this moment; empty behind its end.

        Raises:
            InvalidValue: the name leads outside, or a reply of this size does not fit the bus.
            NotFound: no recording has this name, or it is another stream's.
        """
        _check_length(request.file)
        # base64 makes 4 bytes of 3.
        room_bytes = (self._context.bus.max_payload_bytes - _REPLY_OVERHEAD_BYTES) // 4 * 3
        if request.size > room_bytes:
            raise InvalidValue(
                "size", request.size, f"a message of this bus takes {room_bytes} bytes of a file; ask for less"
            )
        return await asyncio.to_thread(self._read, request)

    async def delete(self, request: DeleteRecording) -> RecordingDeleted:
        """Take a recorded file away; event `recording-deleted` of its output tells everybody.

        Raises:
            InvalidValue: the name leads outside.
            NotFound: no recording of the stream has this name.
            Conflict: it is being written.
            Unavailable: the disk does not let it go.
        """
        _check_length(request.file)
        path, header, size_bytes = await asyncio.to_thread(self._catalogue.delete, request.file, request.stream)
        output_id = compound_id(header.stream, header.output)
        self._on_deleted(output_id, path)
        detail = {"file": request.file, "file_name": str(path), "reason": "by-hand"}
        self._context.event(output_id, "recording-deleted", detail=detail)
        return RecordingDeleted(file=request.file, stream=request.stream, size_bytes=size_bytes)

    def _read(self, request: FetchFile) -> FilePart:
        fd, header = self._catalogue.open(request.file, request.stream)
        try:
            found = os.fstat(fd)
            data = os.pread(fd, request.size, request.offset) if request.offset < found.st_size else b""
        finally:
            os.close(fd)
        return FilePart(
            file=request.file,
            offset=request.offset,
            data=data,
            size_bytes=found.st_size,
            modified_ns=found.st_mtime_ns,
            format=header.format,
        )

    @property
    def _most_files(self) -> int:
        """So many fit a reply: 1 kB each is a name of 600 characters and all else."""
        return max(1, (self._context.bus.max_payload_bytes - _REPLY_OVERHEAD_BYTES) // 1_024)


def _check_length(name: str) -> None:
    """Raises: InvalidValue."""
    if len(name) > _MAX_NAME_CHARACTERS:
        raise InvalidValue("file", name, "write it as publisher.recordings tells it")
