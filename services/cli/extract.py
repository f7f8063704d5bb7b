"""Take pictures out of a video: here, or by the mesh's workers.

examples:
  framemesh extract clip.mp4                               one a second, into the folder clip/
  framemesh extract clip.mp4 --fps 2 -o pictures --short-side 720
  framemesh extract clip.mp4 --count 9 --format webp       nine, from the first to the last moment
  framemesh extract clip.mp4 --every 10s --start 1m --end 5m
  framemesh extract clip.mp4 --every-frames 100 --max 6
  framemesh extract clip.mp4 --at 1.5,3,10.25
  framemesh extract clip.mp4 --to 'file://clip/{index:05d}.{autoext}'     a job of the mesh, below its pictures folder
  framemesh extract https://host/clip.mp4 --to 's3://bucket/clip/{index:06d}.{autoext}'
  framemesh extract s3://bucket/clip.mp4 --to 's3://bucket/out/{index}.jpg' --key clip-17 --no-wait

With -o the pictures are made on this machine, and no mesh is needed. With --to it is a job: any worker of the mesh does
it, it outlives this command, and `framemesh jobs` shows it.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from schemas.errors import BadRequest, InternalError, InvalidValue, NotFound, Unavailable
from schemas.extraction import ENDED_STATES, Job, JobReply, PollJob, SubmitJob, Submitted
from schemas.sampling import PictureOptions, Sampling, check_options, check_sampling
from schemas.subjects import command, event
from schemas.units import parse_duration
from services.cli.connection import add_nats_argument, connected
from services.cli.paths import source_argument
from services.cli.poll import poll_all
from services.cli.progress import Progress
from shared.bus import Bus, Message
from shared.parent import killed_with_parent
from shared.tasks import set_within

HELP = "take pictures out of a video"
_SERVICE = "frame-extractor"
_MODULE = "services.frame_extractor.local"
_NAME = "frame_{index:05d}.{autoext}"
_ENDS = ("job-completed", "job-failed", "job-canceled")
_LOOK_SECONDS = 5.0  # an event that was lost is made up for by then
_LINE_BYTES = 256 << 20  # the list of a hundred thousand pictures
_LAST_LINES = 3
_OPTIONS = {
    "max_frames": "max",
    "interval_frames": "every-frames",
    "interval_s": "every",
    "start_s": "start",
    "end_s": "end",
    "timestamps_s": "at",
}
"""What fields are called here, where they are called otherwise."""
_FAILURE_CODES = {"parameter": BadRequest, "url": BadRequest, "video": BadRequest, "format": BadRequest}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=source_argument, help="a file, http(s)://, s3:// or tos://")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="DIR", help="the folder for the pictures; named as the video")
    where.add_argument("--to", metavar="URL", help="s3://, tos:// or file:// with {index} in it: a job of the mesh")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--fps", type=float, metavar="N", help="of each N-th of a second its middle (1)")
    which.add_argument("--every", metavar="TIME", help="in steps of so long: 500ms, 10s, 2m")
    which.add_argument("--every-frames", type=int, metavar="N", help="every N-th picture")
    which.add_argument("--count", type=int, metavar="N", help="so many, evenly, first and last included")
    which.add_argument("--at", metavar="SECONDS,…", help="at these moments")
    parser.add_argument("--from-start", action="store_true", help="with --fps: in steps from the start, not middles")
    parser.add_argument("--start", metavar="TIME", help="nothing before: 10s, 1.5m")
    parser.add_argument("--end", metavar="TIME", help="nothing behind")
    parser.add_argument("--max", dest="max_frames", type=int, metavar="N", help="the first N at most")
    parser.add_argument("--format", choices=("jpg", "png", "webp"), help="of the files (jpg)")
    parser.add_argument("--quality", type=int, metavar="1-100", help="of jpg and webp (85)")
    parser.add_argument("--short-side", type=int, metavar="PIXELS", help="scale to it, aspect kept")
    parser.add_argument("--width", type=int, metavar="PIXELS", help="scale to it; alone: the aspect is kept")
    parser.add_argument("--height", type=int, metavar="PIXELS")
    parser.add_argument("--key", metavar="TEXT", help="of a job: given twice it is one job")
    parser.add_argument("--owner", metavar="NAME", help="of a job: whose usage it is (mesh)")
    parser.add_argument("--no-wait", action="store_true", help="of a job: say its id and end")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    request = _request(options)
    with Progress(shown=not options.json) as progress:
        if options.to:
            reply = await _by_the_mesh(options, request, progress)
        else:
            reply = await _here(request, progress)
    if reply is None:
        return 0
    job = reply.job
    if options.json:
        print(msgspec.json.encode(reply).decode())
    if job.state != "completed":
        # A file that is not there does not come by itself; a server may be back in a minute.
        missing = job.failure == "download" and job.video.startswith("file://")
        kind = NotFound if missing else _FAILURE_CODES.get(job.failure, Unavailable)
        raise kind(job.message or f"the job is {job.state}")
    if not options.json:
        print(_said(reply))
    return 0


def _request(options: argparse.Namespace) -> SubmitJob:
    """Raises:
    BadRequest: names the option.
    """
    sampling = _given(options, Sampling, ("fps", "count", "max_frames"), _sampling(options))
    pictures = _given(options, PictureOptions, ("format", "quality", "short_side", "width", "height"), {})
    try:
        check_sampling(sampling)
        check_options(pictures)
    except InvalidValue as error:
        raise InvalidValue(_option(error.field), error.value, error.fix) from None
    if not options.to and (options.key or options.owner or options.no_wait):
        raise BadRequest("--key, --owner and --no-wait are of jobs of the mesh; give --to")
    to = options.to or f"file://{quote(str(_folder(options)))}/{_NAME}"
    rest = {"to": to, "sampling": sampling, "pictures": pictures}
    request: SubmitJob = _given(options, SubmitJob, ("video", "key", "owner"), rest)
    return request


def _sampling(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options.start:
        found["start_s"] = parse_duration(options.start, "--start")
    if options.end:
        found["end_s"] = parse_duration(options.end, "--end")
    if options.every:
        return {**found, "mode": "interval", "interval_s": parse_duration(options.every, "--every")}
    if options.every_frames is not None:
        return {**found, "mode": "frames", "interval_frames": options.every_frames}
    if options.count is not None:
        return {**found, "mode": "uniform"}
    if options.at:
        try:
            moments = tuple(float(part) for part in options.at.split(","))
        except ValueError:
            raise InvalidValue("--at", options.at, "write seconds with commas: 1.5,3,10.25") from None
        return {**found, "mode": "timestamps", "timestamps_s": moments}
    if options.from_start:  # the other modes begin at the start as they are
        return {**found, "mode": "fps", **({} if options.fps is not None else {"fps": 1.0})}
    return found


def _given(options: argparse.Namespace, kind: Any, names: tuple[str, ...], fields: dict[str, Any]) -> Any:
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        return msgspec.convert({**given, **fields}, kind)
    except msgspec.ValidationError as error:
        text, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        said = text.replace("Expected", "expected").replace("`float`", "a number").replace("`int`", "a whole number")
        raise BadRequest(f"{_option(name)}: {said}") from None


def _option(field: str) -> str:
    return f"--{_OPTIONS.get(field, field.replace('_', '-'))}"


def _folder(options: argparse.Namespace) -> Path:
    if options.output:
        return Path(options.output).expanduser().absolute()
    return Path.cwd() / (Path(urlsplit(options.video).path).stem or "pictures")


# -- here ----------------------------------------------------------------------------------------------------------


async def _here(request: SubmitJob, progress: Progress) -> JobReply:
    """In a process of its own: media may crash it, and the command line knows no service."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _MODULE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,  # Ctrl-C is ours to tell it
        preexec_fn=killed_with_parent,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    last_words = asyncio.create_task(process.stderr.read())
    try:
        with contextlib.suppress(OSError):  # it has died: what it said last is shown below
            process.stdin.write(msgspec.json.encode(request))
            await process.stdin.drain()
        process.stdin.close()
        while line := await process.stdout.readline():
            if line.startswith(b'{"job"'):
                return msgspec.json.decode(line, type=JobReply)
            job = msgspec.json.decode(line, type=Job)
            progress.show(job.done, job.expected)
        status = await process.wait()
        said = (await last_words).decode(errors="replace").splitlines()[-_LAST_LINES:]
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if any("ModuleNotFoundError" in line for line in said):
        raise Unavailable(f"{said[-1]}; pip install 'framemesh[frame-extractor]', or give --to for a job of the mesh")
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    raise InternalError(f"the extraction died of {how}: {' '.join(said)}")


# -- by the mesh ---------------------------------------------------------------------------------------------------


async def _by_the_mesh(options: argparse.Namespace, request: SubmitJob, progress: Progress) -> JobReply | None:
    async with connected(options) as bus:
        submitted = await bus.request(command(_SERVICE, "submit"), request, Submitted)
        if options.no_wait:
            print(msgspec.json.encode(submitted).decode() if options.json else submitted.job)
            return None
        progress.say(f"job {submitted.job}; it goes on when this command is ended")
        return await _ended(bus, submitted.job, progress)


async def _ended(bus: Bus, job: str, progress: Progress) -> JobReply:
    """The job when it has ended, with all its pictures."""
    ended = asyncio.Event()

    def advanced(message: Message) -> None:
        detail = msgspec.json.decode(message.data)["detail"]
        progress.show(detail["done"], detail["expected"])

    subscriptions = [await bus.subscribe(event(_SERVICE, job, name), lambda _: ended.set()) for name in _ENDS]
    subscriptions.append(await bus.subscribe(event(_SERVICE, job, "job-progress"), advanced))
    try:
        while True:
            with contextlib.suppress(Unavailable):  # who was asked has gone meanwhile; another one answers
                reply = await bus.request(command(_SERVICE, "poll"), PollJob(job=job, frames=False), JobReply)
                if reply.job.state in ENDED_STATES:
                    return await poll_all(bus, PollJob(job=job))
            ended.clear()
            await set_within(ended, _LOOK_SECONDS)
    finally:
        for subscription in subscriptions:
            await subscription.close()


def _said(reply: JobReply) -> str:
    job = reply.job
    seconds = (job.ended_ns - job.started_ns) / 1e9
    lines = [f"{job.done} pictures in {seconds:.1f} s"]
    if reply.frames:
        first, last = reply.frames[0], reply.frames[-1]
        lines[0] += f", {first.width}x{first.height}"
        lines.append(f"  {first.path}" if first is last else f"  {first.path} … {last.path.rpartition('/')[2]}")
        if first.path.startswith("file://") and not first.path.startswith("file:///"):
            lines.append(
                "  below its worker's picture_roots: the folder pictures in FRAMEMESH_DATA_DIR, or as it is set"
            )
    elif job.facts is not None:
        lines.append(f"  no moment that was asked for is in the video, which is {job.facts.duration_s:g} s long")
    if job.message:
        lines.append(f"  {job.message}")
    return "\n".join(lines)
