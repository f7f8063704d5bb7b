"""What happened, and work that waits."""

from schemas import subjects
from schemas.audit import AuditRecord
from schemas.channel import Channel
from schemas.channels.building import template
from schemas.channels.parties import APPLICATIONS, RUNNING_SERVICES
from schemas.events import Event
from schemas.extraction import JobTask
from schemas.mix_tasks import CallbackItem

EVENTS = (
    Channel(
        name="events",
        address=template(subjects.event, "service", "id", "event"),
        semantics="jetstream",
        payload=Event,
        senders=(*RUNNING_SERVICES, *APPLICATIONS, "fleet"),
        receivers=("webrtc-gateway", "frame-extractor", "io-signal", "writer", "client", "cli", "console"),
        summary=f"What happened to a resource; kept in the stream `{subjects.EVENTS_STREAM}`.",
        bound={service: {"service": service} for service in (*RUNNING_SERVICES, "fleet")}
        | {application: {"service": "app"} for application in APPLICATIONS},
        stream=subjects.EVENTS_STREAM,
    ),
    Channel(
        name="audit",
        address=template(subjects.audit, "service", "verb"),
        semantics="jetstream",
        payload=AuditRecord,
        senders=(*RUNNING_SERVICES, "fleet"),
        receivers=("cli",),
        summary=f"Who commanded what; kept in the stream `{subjects.AUDIT_STREAM}`.",
        bound={service: {"service": service} for service in (*RUNNING_SERVICES, "fleet")},
        stream=subjects.AUDIT_STREAM,
    ),
)

QUEUES = (
    Channel(
        name="jobs",
        address=subjects.job_tasks(),
        semantics="work-queue",
        payload=JobTask,
        senders=("frame-extractor",),
        receivers=("frame-extractor",),
        summary=f"Jobs that wait for a worker; kept in the stream `{subjects.JOBS_STREAM}`.",
        stream=subjects.JOBS_STREAM,
        consumer=subjects.JOBS_CONSUMER,
    ),
    Channel(
        name="mix-callbacks",
        address=subjects.mix_callbacks(),
        semantics="work-queue",
        payload=CallbackItem,
        senders=("cloud-mix-proxy",),
        receivers=("cloud-mix-proxy",),
        summary="Notices of CloudMix tasks that wait for delivery; kept in the stream "
        f"`{subjects.MIX_CALLBACKS_STREAM}`.",
        stream=subjects.MIX_CALLBACKS_STREAM,
        consumer=subjects.MIX_CALLBACKS_CONSUMER,
    ),
)
