"""Pictures of one video, without a mesh: `python -m services.frame_extractor.local`.

Reads one `SubmitJob` as JSON from standard input; writes a `Job` a line while it goes on, and at its end a `JobReply`.
Whoever starts it may read and write what they like: the folders of the request are its roots.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from schemas.errors import MeshError
from schemas.extraction import Job, JobReply, SubmitJob
from schemas.sampling import check_options, check_sampling
from services.frame_extractor.engine import Limits
from services.frame_extractor.extraction import Extraction, ExtractionFailed
from services.frame_extractor.settings import FrameExtractorSettings
from services.frame_extractor.storage import Places
from shared.settings import load_settings
from shared.urls import redact

_TELL_SECONDS = 0.1  # a bar that moves smoothly
_ID = "task-00000000000000-000000"  # no mesh knows of it


def main() -> None:
    """Do it; the exit status is 0 when it is completed."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=SubmitJob)
    # What libraries print is no answer.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", 0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(item: msgspec.Struct) -> None:
        output.write(msgspec.json.encode(item) + b"\n")

    started_ns = time.time_ns()
    job = Job(
        id=_ID,
        state="running",
        owner=request.owner,
        video=redact(request.video)[0],
        to=redact(request.to)[0],
        submitted_ns=started_ns,
        started_ns=started_ns,
        attempt=1,
    )
    try:
        check_sampling(request.sampling)
        check_options(request.pictures)
        settings = _settings(request)
        limits = Limits(wall_s=settings.job_seconds)
        with Extraction(request, Places(settings), limits, threads=settings.threads) as extraction:
            ended = threading.Event()
            teller = threading.Thread(target=_tell, args=(extraction, job, say, ended), daemon=True)
            teller.start()
            try:
                facts, frames = extraction.run()
            finally:
                ended.set()
                teller.join()
    except ExtractionFailed as error:
        failed = msgspec.structs.replace(job, state="failed", failure=error.kind, message=error.message)
        say(JobReply(job=msgspec.structs.replace(failed, ended_ns=time.time_ns())))
        sys.exit(1)
    except MeshError as error:
        say(JobReply(job=msgspec.structs.replace(job, state="failed", failure="parameter", message=error.message)))
        sys.exit(1)
    done = msgspec.structs.replace(
        job,
        state="completed",
        done=len(frames),
        expected=len(frames),
        facts=facts,
        message=facts.note,
        ended_ns=time.time_ns(),
    )
    say(JobReply(job=done, frames=tuple(frames)))


def _tell(extraction: Extraction, job: Job, say: Callable[[msgspec.Struct], None], ended: threading.Event) -> None:
    while not ended.wait(_TELL_SECONDS):
        say(msgspec.structs.replace(job, done=extraction.done, expected=extraction.expected))


def _settings(request: SubmitJob) -> FrameExtractorSettings:
    settings = load_settings(FrameExtractorSettings, "frame-extractor")
    return msgspec.structs.replace(
        settings,
        threads=max(1, os.cpu_count() or 1),
        allow_private=True,
        file_roots=_folder(request.video) or settings.file_roots,
        picture_roots=_folder(request.to.partition("{")[0]) or settings.picture_roots,
    )


def _folder(url: str) -> tuple[Path, ...]:
    """The folder of an absolute `file://`."""
    if not url.startswith("file:///"):
        return ()
    path = Path(unquote(urlsplit(url).path))
    return (path if url.endswith("/") else path.parent,)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # not held up by a media thread that hangs in a network read
