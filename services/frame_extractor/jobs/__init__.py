"""Jobs: a durable queue, its workers, what is known of each job, and what came of it."""

from services.frame_extractor.jobs.jobs import Jobs

__all__ = ["Jobs"]
