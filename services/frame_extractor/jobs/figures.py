"""What Prometheus is told of the jobs."""

from collections import Counter
from functools import partial
from typing import get_args

from schemas.extraction import ENDED_STATES, Job, JobState
from services.frame_extractor.jobs.memory import MemoryBudget
from services.frame_extractor.jobs.records import Records
from services.frame_extractor.storage.counts import StorageCounts, StorageFigures
from shared.bus import QueueSize
from shared.metrics import Distribution, Figures, one

_SECONDS_BOUNDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_MAX_OWNERS = 200  # labels are kept for ever; who comes later is `other`
_OTHER = "other"
_PREFIX = "framemesh_frame_extractor"
_NO_ENDED = {(state, ""): 0 for state in ENDED_STATES}
_STORAGE = {
    "written": ("written_pictures", "Pictures that were written, of jobs and of samples."),
    "written_bytes": ("written_bytes", "Of these pictures."),
    "write_seconds": ("write_seconds", "That writing them took, tries again and pauses between them included."),
    "retries": ("storage_retries", "Requests to stores and folders that failed and were followed by another."),
    "waits": ("upload_waits", "Times that decoding waited for writing."),
    "waited_seconds": ("upload_waited_seconds", "That decoding waited for writing."),
    "dropped": ("dropped_pictures", "Pictures that were made and not written."),
    "fetched_bytes": ("fetched_bytes", "Of videos."),
    "resumed": ("fetches_resumed", "Times that a server was asked for the rest of what it broke off."),
}
assert set(_STORAGE) == set(StorageFigures.__struct_fields__)


class JobFigures:
    """Counted where jobs are worked on."""

    def __init__(self) -> None:
        self.retries: Counter[str] = Counter()
        """By what had failed."""
        self.seconds = Distribution(_SECONDS_BOUNDS)
        self.waited_seconds = Distribution(_SECONDS_BOUNDS)
        self.running = 0
        self.queue = QueueSize(0, 0)
        self.storage = StorageCounts()
        """Of the jobs' processes, and of this one."""
        self._ended: Counter[tuple[str, str]] = Counter()
        self._pictures: Counter[str] = Counter()

    def began(self, job: Job) -> None:
        if job.attempt == 1:
            self.waited_seconds.observe((job.started_ns - job.submitted_ns) / 1e9)

    def ended(self, job: Job) -> None:
        self._ended[job.state, job.failure] += 1
        if job.state == "completed":
            self.seconds.observe((job.ended_ns - job.started_ns) / 1e9)
            known = job.owner in self._pictures or len(self._pictures) < _MAX_OWNERS
            self._pictures[job.owner if known else _OTHER] += job.done

    def _of_storage(self, field: str) -> list[tuple[dict[str, str], float]]:
        return [({}, float(getattr(self.storage.figures, field)))]

    def register(self, figures: Figures, records: Records, memory: MemoryBudget) -> None:
        def by_state() -> list[tuple[dict[str, str], float]]:
            return [({"state": state}, records.states[state]) for state in get_args(JobState)]

        figures.gauge(f"{_PREFIX}_jobs", "Jobs of the last three days, of the whole mesh.", by_state)
        figures.gauge(f"{_PREFIX}_queue_waiting_jobs", "In the queue.", one(lambda: self.queue.waiting))
        figures.gauge(f"{_PREFIX}_queue_taken_jobs", "Of the queue, taken by workers.", one(lambda: self.queue.taken))
        figures.gauge(f"{_PREFIX}_running_jobs", "Of this instance.", one(lambda: self.running))
        figures.gauge(f"{_PREFIX}_memory_used_bytes", "Reckoned for running jobs.", one(lambda: memory.used_bytes))
        figures.counter(
            f"{_PREFIX}_ended_jobs",
            "Jobs that this instance has brought to an end.",
            # Zeros too: what an alert sees for the first time at 1 has not grown.
            lambda: [({"state": s, "failure": f}, n) for (s, f), n in sorted((_NO_ENDED | self._ended).items())],
        )
        figures.counter(
            f"{_PREFIX}_retried_jobs",
            "Attempts that failed and are made again.",
            lambda: [({"failure": failure}, n) for failure, n in sorted(self.retries.copy().items())],
        )
        figures.counter(
            f"{_PREFIX}_pictures",
            "Pictures of completed jobs.",
            lambda: [({"owner": owner}, n) for owner, n in sorted(self._pictures.copy().items())],
        )
        for field, (name, text) in _STORAGE.items():
            figures.counter(f"{_PREFIX}_{name}", text, partial(self._of_storage, field))
        figures.histogram(f"{_PREFIX}_job_seconds", "From a job's last start to its end.", self.seconds)
        figures.histogram(f"{_PREFIX}_job_waited_seconds", "From submission to the first start.", self.waited_seconds)
