"""The jobs that take pictures out of videos: list them, look at one, cancel some.

examples:
  framemesh jobs
  framemesh jobs --state failed --limit 20
  framemesh jobs show task-20260504100000-abc123def456       with its pictures: --json
  framemesh jobs cancel task-20260504100000-abc123def456
  framemesh jobs usage --owner shop --since 20260501         pictures by day
"""

import argparse
from datetime import datetime
from typing import TypeVar, get_args

import msgspec

from schemas.errors import BadRequest, InvalidValue
from schemas.extraction import (
    CancelJob,
    GetUsage,
    Job,
    JobList,
    JobReply,
    JobState,
    ListJobs,
    PollJob,
    UsageReply,
)
from schemas.subjects import command
from schemas.units import NS_PER_SECOND
from services.cli.connection import add_nats_argument, connected
from services.cli.poll import poll_all
from services.cli.table import table

HELP = "jobs that take pictures out of videos"
_SERVICE = "frame-extractor"
# And the options that each takes.
_ACTIONS = {
    "list": ("owner", "state", "limit", "before"),
    "show": ("owner",),
    "cancel": ("owner",),
    "usage": ("owner", "since", "until"),
}
_HEADER = ("JOB", "STATE", "OWNER", "SUBMITTED", "PICTURES", "SECONDS", "VIDEO")
RequestT = TypeVar("RequestT", bound=msgspec.Struct)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=tuple(_ACTIONS), default="list", metavar="ACTION", help=", ".join(_ACTIONS)
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="of show and cancel")
    parser.add_argument("--owner", metavar="NAME", help="of one owner only")
    parser.add_argument("--state", choices=get_args(JobState), help="of list: in this state only")
    parser.add_argument("--limit", type=int, metavar="N", help="of list: the newest so many (100)")
    parser.add_argument("--before", metavar="JOB", help="of list: only those that were submitted before this one")
    parser.add_argument("--since", metavar="DAY", help="of usage: the first day, as 20260501")
    parser.add_argument("--until", metavar="DAY", help="of usage: the last day, itself included")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    if bool(options.jobs) != (options.action in ("show", "cancel")):
        raise BadRequest(f"jobs {options.action}: {'give the ids of jobs' if not options.jobs else 'takes no ids'}")
    given = _given(options)
    async with connected(options) as bus:
        if options.action == "list":
            listed = await bus.request(command(_SERVICE, "list"), _made(ListJobs, given), JobList)
            print(msgspec.json.encode(listed).decode() if options.json else describe(listed))
            return 0
        if options.action == "usage":
            usage = await bus.request(command(_SERVICE, "usage"), _made(GetUsage, given), UsageReply)
            print(msgspec.json.encode(usage).decode() if options.json else describe_usage(usage))
            return 0
        for job in options.jobs:
            if options.action == "show":
                # Of a hundred thousand pictures the list is long: only who wants it as JSON gets it.
                asked = _made(PollJob, {"job": job, "frames": options.json, **given})
                reply = await poll_all(bus, asked)
            else:
                reply = await bus.request(
                    command(_SERVICE, "cancel"), _made(CancelJob, {"job": job, **given}), JobReply
                )
            print(msgspec.json.encode(reply).decode() if options.json else describe_one(reply.job))
    return 0


def _given(options: argparse.Namespace) -> dict[str, object]:
    """Raises: BadRequest: an option is of another action."""
    names = {name for takes in _ACTIONS.values() for name in takes}
    given = {name: value for name in sorted(names) if (value := getattr(options, name)) is not None}
    for name in given:
        if name not in _ACTIONS[options.action]:
            raise BadRequest(f"--{name}: jobs {options.action} does not take it")
    return given


def describe(listed: JobList) -> str:
    """The jobs as a table, and why some failed."""
    if not listed.jobs:
        return "none; framemesh extract VIDEO --to URL makes one"
    lines = table([_HEADER, *map(_row, listed.jobs)])
    if problems := [f"  {job.id}: {job.message}" for job in listed.jobs if job.failure]:
        lines += ["", "PROBLEMS", *problems]
    return "\n".join([*lines, *(["", f"there are older ones: --before {listed.jobs[-1].id}"] if listed.more else [])])


def describe_one(job: Job) -> str:
    lines = [f"{job.id}: {job.state}, {_pictures(job)} pictures, attempt {job.attempt}", f"  {job.video} -> {job.to}"]
    return "\n".join([*lines, *([f"  {job.message}"] if job.message else [])])


def describe_usage(reply: UsageReply) -> str:
    rows = [(usage.owner, usage.day, str(usage.jobs), str(usage.pictures)) for usage in reply.usage]
    return "\n".join(table([("OWNER", "DAY", "JOBS", "PICTURES"), *rows])) if rows else "none"


def _made(kind: type[RequestT], given: dict[str, object]) -> RequestT:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        if str(error).endswith("`$.job`"):
            raise InvalidValue("job", given["job"], "give an id as framemesh jobs lists them") from None
        text, _, name = str(error).partition(" - at `$.")
        raise BadRequest(f"--{name.rstrip('`')}: {text}" if name else f"jobs: {text}") from None


def _row(job: Job) -> tuple[str, ...]:
    submitted = datetime.fromtimestamp(job.submitted_ns // NS_PER_SECOND).isoformat(" ")
    seconds = f"{(job.ended_ns - job.started_ns) / NS_PER_SECOND:.1f}" if job.ended_ns and job.started_ns else "-"
    return job.id, job.state, job.owner, submitted, _pictures(job), seconds, job.video


def _pictures(job: Job) -> str:
    return str(job.done) if job.expected in (None, job.done) else f"{job.done}/{job.expected}"
