"""Record a live stream to a file, look how it is doing, end it.

examples:
  framemesh record start cam0
  framemesh record start cam0 --to 'file://night/{stream}-{start:%Y%m%d-%H%M%S}.mp4' --rendition main
  framemesh record status cam0
  framemesh record stop cam0                   says how long it is, and where the file lies

Files lie below the publisher's file roots (FRAMEMESH_PUBLISHER_FILE_ROOTS; else `media` in its data folder).
"""

import argparse

import msgspec

from schemas.commands import DEFAULT_WAIT_SECONDS
from schemas.errors import BadRequest
from schemas.recordings import Recording, RecordingRequest, StartRecording, StopRecording
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected

HELP = "record a live stream to a file"
_REPLY_MARGIN_SECONDS = 10.0  # news of the stream, and the removal of a finished output, come on top of the wait
_REQUESTS: dict[str, tuple[str, type[StartRecording | RecordingRequest | StopRecording]]] = {
    "start": ("start-recording", StartRecording),
    "status": ("recording", RecordingRequest),
    "stop": ("stop-recording", StopRecording),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=tuple(_REQUESTS))
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument("--to", metavar="URL", help="of start: file://….mp4")
    parser.add_argument(
        "--rendition", metavar="NAME", help="of start; when left out the source's own packets where a file takes them"
    )
    parser.add_argument(
        "--wait", dest="wait_s", type=float, metavar="SECONDS", help=f"for the file ({DEFAULT_WAIT_SECONDS:g})"
    )
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    verb, kind = _REQUESTS[options.action]
    given = {name: getattr(options, name) for name in ("stream", "to", "rendition", "wait_s")}
    try:
        request = msgspec.convert({name: value for name, value in given.items() if value is not None}, kind)
    except msgspec.ValidationError as error:
        text = str(error).replace("Object contains unknown field", "does not take").replace(" - at `$.", ", at `--")
        raise BadRequest(f"record {options.action}: {text}") from None
    timeout = (options.wait_s or DEFAULT_WAIT_SECONDS) + _REPLY_MARGIN_SECONDS
    async with connected(options) as bus:
        recording = await bus.request(command("publisher", verb), request, Recording, timeout)
    print(msgspec.json.encode(recording).decode() if options.json else _said(recording))
    return 0


def _said(recording: Recording) -> str:
    """One line or two for people."""
    state = recording.state or ("waiting" if recording.recording else "not being recorded")
    parts = [f"{recording.stream}: {state}"]
    if recording.started_ns:
        parts.append(f"{recording.duration_s:.1f} s, {recording.file_size / 1e6:.1f} MB")
    if recording.width:
        parts.append(f"{recording.width}x{recording.height}, {recording.frame_rate:g} pictures/s")
    files = recording.files or ((recording.file_name,) if recording.file_name else ())
    error = (f"error {recording.error.code}: {recording.error.message}",) if recording.error else ()
    return "\n  ".join((", ".join(parts), *files, *error))
