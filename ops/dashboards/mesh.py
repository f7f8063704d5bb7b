"""Is all well, and what is short."""

from ops.dashboards.building import (
    BAD,
    FULLNESS,
    GOOD,
    NODE,
    NONE_IS_GOOD,
    RATE,
    WARN,
    Board,
    Query,
    bars,
    lines,
    number,
    rows,
    states,
)

_SERVICES = f'job!="prometheus", {NODE}'
_ILL = 'state=~"failed|connecting|reconnecting|retrying|stalled|frozen|starting"'

BOARD = Board(
    uid="framemesh-mesh",
    title="Mesh",
    description="Is all well? What is short? Where is something left out?",
    panels=(
        "Now",
        number(
            "Services down",
            "Services that Prometheus looks for and that do not answer. Alert ServiceDown says which.",
            "none",
            Query(f"count(up{{{_SERVICES}}}) - sum(up{{{_SERVICES}}})", "down"),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Alerts",
            "Alerts that fire, those that are only for information left out.",
            "none",
            Query('count(ALERTS{alertstate="firing", severity!="info"}) or vector(0)', "firing"),
            steps=((None, GOOD), (1, WARN), (3, BAD)),
        ),
        number(
            "Streams not live",
            "Streams whose source delivers nothing, or the same picture all the time.",
            "none",
            Query(
                f'count(framemesh_resource_state{{{NODE}, kind="stream", state!~"live|off"}}) or vector(0)', "not live"
            ),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Viewers",
            "Sessions of WHEP and of Sora that are open.",
            "none",
            Query(f"sum(framemesh_webrtc_sessions{{{NODE}}})", "viewers"),
        ),
        number(
            "Outputs running",
            "Recordings, pushes and playlists that packets reach just now.",
            "none",
            Query(f"sum(framemesh_publisher_running{{{NODE}}}) or vector(0)", "running"),
        ),
        number(
            "Jobs running",
            "Extraction jobs that are worked on.",
            "none",
            Query(f"sum(framemesh_frame_extractor_running_jobs{{{NODE}}})", "running"),
        ),
        "What is wrong",
        rows(
            "Alerts that fire",
            "What each means and what to do: docs/alerts.md.",
            Query('ALERTS{alertstate="firing"}'),
            hidden=("alertstate", "job"),
        ),
        rows(
            "Resources that are not well",
            "Streams, renditions, outputs, mixes, signals and inputs that do not do what they are there for. "
            "`framemesh status` has the errors.",
            Query(f"framemesh_resource_state{{{NODE}, {_ILL}}}"),
            hidden=("job",),
            to_stream=True,
        ),
        "What is short",
        lines(
            "CPU",
            "Of each service with its child processes; 100 % is one core.",
            "percentunit",
            Query(f"sum by (job) (rate(framemesh_cpu_seconds_total{{{NODE}}}[{RATE}]))", "{{job}}"),
            stacked=True,
        ),
        lines(
            "Memory",
            "Of each service with its child processes. Rings that several map count in each.",
            "bytes",
            Query(f"sum by (job) (framemesh_memory_bytes{{{NODE}}})", "{{job}}"),
        ),
        lines(
            "Event loops",
            "How late the slowest hundredth of callbacks come. Above 0.1 s viewers and keep times suffer.",
            "s",
            Query(f"max by (job) (framemesh:loop_lag_seconds:p99{{{NODE}}})", "{{job}}"),
        ),
        bars(
            "Used up",
            "Shared memory for rings, disks for recordings and records, descriptors of the service nearest its limit.",
            "percentunit",
            Query(
                f"1 - min by (node) (framemesh_shm_free_bytes{{{NODE}}} / framemesh_shm_size_bytes)",
                "{{node}} shared memory",
            ),
            Query(
                f"1 - min by (node, root) (framemesh_publisher_disk_free_bytes{{{NODE}}} "
                "/ framemesh_publisher_disk_size_bytes)",
                "{{node}} {{root}}",
            ),
            Query(
                f"1 - min by (node) (framemesh_data_free_bytes{{{NODE}}} / framemesh_data_size_bytes)",
                "{{node}} data",
            ),
            Query(
                f"max by (node) (process_open_fds{{{_SERVICES}}} / process_max_fds)",
                "{{node}} descriptors",
            ),
            steps=FULLNESS,
            top=1,
        ),
        lines(
            "Rings",
            "Shared memory of each stream's frame ring, reserved when its first picture comes.",
            "bytes",
            Query(f"max by (stream) (framemesh_ring_bytes{{{NODE}}})", "{{stream}}"),
            stacked=True,
        ),
        lines(
            "Left out, by reason",
            "Everything that was dropped anywhere, a second. Choose a stream on the next dashboard to see whose.",
            "cps",
            Query(f"sum by (what, reason) (framemesh:drops:rate1m{{{NODE}}}) > 0 or vector(0)", "{{what}} {{reason}}"),
        ),
        "The bus",
        states(
            "Connected",
            "Blue while a service has the bus.",
            Query(f"framemesh_bus_connected{{{NODE}}}", "{{node}} {{job}}"),
        ),
        lines(
            "Messages",
            "Published by each service, a second.",
            "cps",
            Query(f"sum by (job) (rate(framemesh_bus_posted_messages_total{{{NODE}}}[{RATE}]))", "{{job}}"),
            width=12,
        ),
    ),
)
