"""`/api/v1/submit` and `/api/v1/poll`."""

import asyncio
import re
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from aiohttp import web

from schemas.errors import NotFound
from schemas.extraction import ExtractedFrame, JobReply, PollJob, SubmitJob, Submitted
from services.frame_extractor.las.admission import Admission
from services.frame_extractor.las.answers import REQUEST_ID, accepted, check_alive, polled, response
from services.frame_extractor.las.body import parse_body, read_body
from services.frame_extractor.las.failures import INTERNAL, PARAMETER_INVALID, TASK_NOT_FOUND, Refused
from services.frame_extractor.las.pictures import Pictures
from services.frame_extractor.las.submission import parse_poll, parse_submission
from shared.audit import Audit
from shared.door.body import BODY_SECONDS
from shared.door.sending import PIECE_BYTES, PiecewiseResponse, send
from shared.door.told import told

_TASK_ID: Final = re.compile(r"task-[0-9]{14}-[0-9a-z]{6,20}", re.ASCII)  # `schemas.extraction.JobId`
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")
# Lists of 100,000 pictures are 40 MB as JSON: so many are made and sent at once, and no more wait than keys allow.
_LONG_LISTS: Final = 2
# Made in the event loop, a list of this length takes 3 ms of it.
_SHORT_LIST: Final = 200


class Jobs(Protocol):
    """Where tasks are kept and done."""

    async def submit(self, request: SubmitJob) -> Submitted: ...

    async def poll(self, request: PollJob) -> JobReply: ...


class TaskRoutes:
    """For whoever has a key."""

    def __init__(
        self,
        jobs: Jobs,
        admission: Admission,
        pictures: Pictures,
        body_seconds: float = BODY_SECONDS,
        audit: Audit | None = None,
    ) -> None:
        self._audit = audit
        self._jobs, self._admission, self._pictures, self._body_seconds = jobs, admission, pictures, body_seconds
        self._long_lists = asyncio.Semaphore(_LONG_LISTS)

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/api/v1/submit", self._submit)
        app.router.add_post("/api/v1/poll", self._poll)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        owner = self._admission.owner(request)
        with self._admission.one(owner):
            data = await read_body(request, self._body_seconds)
            judged = self._admission.keys is not None
            with told(self._audit, request, "frame-extractor.submit", data, owner, judged=judged):
                job = parse_submission(parse_body(data), owner, _idempotency_key(request))
                submitted = await self._jobs.submit(job)
            return response(200, msgspec.json.encode(accepted(submitted.job, request[REQUEST_ID])))

    async def _poll(self, request: web.Request) -> web.StreamResponse:
        owner = self._admission.owner(request)
        with self._admission.one(owner):
            task_id = parse_poll(parse_body(await read_body(request, self._body_seconds)))
            if not _TASK_ID.fullmatch(task_id):
                raise Refused(TASK_NOT_FOUND, "give the task_id that the submission was answered with")
            try:
                reply = await self._jobs.poll(PollJob(job=task_id, owner=owner))
                if reply.job.owner != owner:
                    raise NotFound("another key's task")
                check_alive(reply.job)
            except NotFound:
                # The same for what never was and for what is another key's.
                raise Refused(TASK_NOT_FOUND, "there is none of this id, of this key") from None
            if not reply.more:
                return await self._answer(request, reply, reply.frames)
            async with self._long_lists:
                answer = await self._answer(request, reply, await self._rest(reply, owner))
                await send(request, answer)
                return answer

    async def _rest(self, reply: JobReply, owner: str) -> list[ExtractedFrame]:
        """The whole list of pictures, whose first part is in `reply`."""
        frames = list(reply.frames)
        while reply.more:
            # By their number, not by `index`: that of a picture that could not be decoded is left out.
            reply = await self._jobs.poll(PollJob(job=reply.job.id, owner=owner, first=len(frames)))
            if reply.more and not reply.frames:
                raise Refused(INTERNAL)
            frames += reply.frames
        return frames

    async def _answer(
        self, request: web.Request, reply: JobReply, frames: Sequence[ExtractedFrame]
    ) -> web.Response | PiecewiseResponse:
        link, request_id = self._pictures.linker(request), request[REQUEST_ID]

        def make() -> tuple[int, bytes]:
            status, answer = polled(reply.job, frames, link, request_id)
            return status, msgspec.json.encode(answer)

        status, body = make() if len(frames) <= _SHORT_LIST else await asyncio.to_thread(make)
        if len(body) > PIECE_BYTES:
            return PiecewiseResponse(body, "application/json", {})
        return response(status, body)


def _idempotency_key(request: web.Request) -> str:
    """Of a header that the document does not have: whoever submits again after a lost answer gets the same task."""
    key = request.headers.get("Idempotency-Key", "")
    if key and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Refused(PARAMETER_INVALID, "header Idempotency-Key: give 1 to 128 visible ASCII characters")
    return key
