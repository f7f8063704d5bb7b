"""Jobs: a durable queue, its workers, what is known of each job, and what came of it."""
