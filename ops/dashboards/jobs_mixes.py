"""Whether the queue shrinks, and mixes are in time."""

from ops.dashboards.building import BAD, GOOD, NODE, NONE_IS_GOOD, RATE, WARN, Board, Query, lines, number, states

_JOBS, _MIXES = "framemesh_frame_extractor", "framemesh_cloud_mix_proxy"


def _job_quantile(quantile: float, what: str) -> str:
    return f"histogram_quantile({quantile}, sum by (le) (increase({_JOBS}_{what}_seconds_bucket{{{NODE}}}[15m])))"


BOARD = Board(
    uid="framemesh-jobs-mixes",
    title="Jobs and mixes",
    description="Does the queue shrink? Are mixes in time, do their inputs live?",
    panels=(
        "Jobs",
        number(
            "Waiting",
            "Jobs in the queue that no worker has taken.",
            "none",
            Query(f"max({_JOBS}_queue_waiting_jobs{{{NODE}}})", "waiting"),
            steps=((None, GOOD), (20, WARN), (100, BAD)),
        ),
        number("Running", "On all workers.", "none", Query(f"sum({_JOBS}_running_jobs{{{NODE}}})", "running")),
        number(
            "Failed",
            "In the last hour.",
            "none",
            Query(f"sum(increase(framemesh:failed_jobs:sum{{{NODE}}}[1h]))", "failed"),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Takes",
            "From a job's last start to its end, median of 15 minutes.",
            "s",
            Query(_job_quantile(0.5, "job"), "median"),
        ),
        number(
            "Waits",
            "From submission to the first start, slowest twentieth of 15 minutes.",
            "s",
            Query(_job_quantile(0.95, "job_waited"), "p95"),
            steps=((None, GOOD), (10, WARN), (60, BAD)),
        ),
        number(
            "Pictures",
            "Written for jobs and samples, a second.",
            "cps",
            Query(f"sum(rate({_JOBS}_written_pictures_total{{{NODE}}}[{RATE}]))", "pictures"),
        ),
        lines(
            "Queue",
            "Jobs that wait, and those that workers have taken.",
            "none",
            Query(f"max({_JOBS}_queue_waiting_jobs{{{NODE}}})", "waiting"),
            Query(f"max({_JOBS}_queue_taken_jobs{{{NODE}}})", "taken"),
        ),
        lines(
            "Ended",
            "Jobs an hour, by how they ended and why they failed.",
            "none",
            Query(
                f"sum by (state, failure) (increase({_JOBS}_ended_jobs_total{{{NODE}}}[1h]))", "{{state}} {{failure}}"
            ),
        ),
        lines(
            "Reading and writing",
            "Videos that are fetched, pictures that are written.",
            "Bps",
            Query(f"sum(rate({_JOBS}_fetched_bytes_total{{{NODE}}}[{RATE}]))", "fetched"),
            Query(f"sum(rate({_JOBS}_written_bytes_total{{{NODE}}}[{RATE}]))", "written"),
        ),
        "Mixes",
        lines(
            "Pictures",
            "Made by each mix, a second.",
            "fps",
            Query(f"sum by (mix) ({_MIXES}_fps{{{NODE}}})", "{{mix}}"),
        ),
        lines(
            "In time",
            "How long after their moment the slowest hundredth of the pictures are handed over.",
            "s",
            Query(f"max by (mix) ({_MIXES}_lateness_seconds{{{NODE}}})", "{{mix}}"),
        ),
        lines(
            "Left out",
            "Pictures and blocks of sound a second, by reason: late, no free slot, picture gone, slow tile, sound.",
            "cps",
            Query(f"sum by (mix, reason) (rate({_MIXES}_left_out_total{{{NODE}}}[{RATE}]))", "{{mix}} {{reason}}"),
        ),
        states(
            "Inputs",
            "Blue while pictures of an input come.",
            Query(f"{_MIXES}_input_live{{{NODE}}}", "{{mix}} {{input}}"),
        ),
        lines(
            "Notices",
            "Delivered to the callbacks of tasks, and tries that failed, an hour.",
            "none",
            Query(f"sum(increase({_MIXES}_callbacks_delivered_total{{{NODE}}}[1h]))", "delivered"),
            Query(f"sum by (reason) (increase({_MIXES}_callbacks_failed_total{{{NODE}}}[1h]))", "{{reason}}"),
            width=12,
        ),
    ),
)
