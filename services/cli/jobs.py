"""The jobs that take pictures out of videos: list them, look at one, cancel some.

examples:
  framemesh jobs
  framemesh jobs --state failed --limit 20
  framemesh jobs show task-20260504100000-abc123def456       with its pictures: --json
  framemesh jobs cancel task-20260504100000-abc123def456
  framemesh jobs usage --owner shop                          pictures by day
"""

import argparse
from datetime import datetime
from typing import get_args

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
from services.cli.connection import add_nats_argument, connected
from services.cli.table import table

HELP = "jobs that take pictures out of videos"
_SERVICE = "frame-extractor"
_ACTIONS = ("list", "show", "cancel", "usage")
_HEADER = ("JOB", "STATE", "OWNER", "SUBMITTED", "PICTURES", "SECONDS", "VIDEO")
_NANOSECONDS = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=_ACTIONS, default="list", metavar="ACTION", help=", ".join(_ACTIONS)
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="of show and cancel")
    parser.add_argument("--owner", metavar="NAME", help="of one owner only")
    parser.add_argument("--state", choices=get_args(JobState), help="in this state only")
    parser.add_argument("--limit", type=int, metavar="N", help="the newest so many (100)")
    parser.add_argument("--before", metavar="JOB", help="only those that were submitted before this one")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    if bool(options.jobs) != (options.action in ("show", "cancel")):
        raise BadRequest(f"jobs {options.action}: {'give the ids of jobs' if not options.jobs else 'takes no ids'}")
    async with connected(options) as bus:
        if options.action == "list":
            names = ("owner", "state", "limit", "before")
            given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
            listed = await bus.request(command(_SERVICE, "list"), _made(ListJobs, given), JobList)
            print(msgspec.json.encode(listed).decode() if options.json else describe(listed))
            return 0
        if options.action == "usage":
            request = _made(GetUsage, {"owner": options.owner} if options.owner else {})
            usage = await bus.request(command(_SERVICE, "usage"), request, UsageReply)
            print(msgspec.json.encode(usage).decode() if options.json else describe_usage(usage))
            return 0
        for job in options.jobs:
            if options.action == "show":
                reply = await bus.request(command(_SERVICE, "poll"), _made(PollJob, {"job": job}), JobReply)
            else:
                reply = await bus.request(command(_SERVICE, "cancel"), _made(CancelJob, {"job": job}), JobReply)
            print(msgspec.json.encode(reply).decode() if options.json else describe_one(reply.job))
    return 0


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


def _made(kind: "type[msgspec.Struct]", given: dict[str, object]) -> msgspec.Struct:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        if str(error).endswith("`$.job`"):
            raise InvalidValue("job", given["job"], "give an id as framemesh jobs lists them") from None
        raise BadRequest(f"jobs: {error}") from None


def _row(job: Job) -> tuple[str, ...]:
    submitted = datetime.fromtimestamp(job.submitted_ns // _NANOSECONDS).isoformat(" ")
    seconds = f"{(job.ended_ns - job.started_ns) / _NANOSECONDS:.1f}" if job.ended_ns and job.started_ns else "-"
    return job.id, job.state, job.owner, submitted, _pictures(job), seconds, job.video


def _pictures(job: Job) -> str:
    return str(job.done) if job.expected in (None, job.done) else f"{job.done}/{job.expected}"
