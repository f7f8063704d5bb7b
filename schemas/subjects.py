"""Every subject, bucket and key of the mesh is built here and nowhere else."""

from typing import Final

from schemas.ids import check_id, split_compound_id

PREFIX = "mesh.v1"

DESIRED_BUCKET = "mesh_desired"
ACTUAL_BUCKET = "mesh_actual"
DEMAND_BUCKET = "mesh_demand"
EPOCH_BUCKET = "mesh_epoch"
SECRETS_BUCKET = "mesh_secrets"
PRESENCE_BUCKET = "mesh_presence"
CLAIM_BUCKET = "mesh_claims"
JOBS_BUCKET = "mesh_jobs"
JOB_PAGES_BUCKET = "mesh_job_pages"
USAGE_BUCKET = "mesh_usage"
SAMPLES_BUCKET = "mesh_samples"
MIX_TASKS_BUCKET = "mesh_mix_tasks"
MIX_LEASES_BUCKET = "mesh_mix_leases"
SCHEMA_BUCKET = "mesh_schema"
EVENTS_STREAM = "mesh_events"
AUDIT_STREAM = "mesh_audit"
JOBS_STREAM = "mesh_jobs_queue"
# The one consumer of the stream, which all workers share.
JOBS_CONSUMER = "workers"
MIX_CALLBACKS_STREAM = "mesh_mix_callbacks"
MIX_CALLBACKS_CONSUMER = "deliverers"

SERVICES: Final = (
    "capture",
    "hw-encode",
    "publisher",
    "webrtc-gateway",
    "frame-extractor",
    "cloud-mix-proxy",
    "io-signal",
)

# Raw frames and audio have no rendition; in demand keys this reserved word stands in its place.
RAW = "raw"
SOURCE_RENDITION = "source"
# Of every stream, on demand: made for viewers, so without reordered pictures and with a key frame when asked.
DEFAULT_RENDITION = "main"


def frames(node: str, stream: str) -> str:
    """FrameRefs of one stream; only processes on the same node can use them."""
    return f"{PREFIX}.frames.{check_id(node, 'node')}.{check_id(stream, 'stream')}"


def audio(node: str, stream: str) -> str:
    """Raw audio of one stream."""
    return f"{PREFIX}.audio.{check_id(node, 'node')}.{check_id(stream, 'stream')}"


def picture_values(node: str, stream: str = "*") -> str:
    """Numbers and texts for the references of one stream, or of all streams of a node."""
    if stream != "*":
        check_id(stream, "stream")
    return f"{PREFIX}.meta.{check_id(node, 'node')}.{stream}"


def ack(node: str, stream: str) -> str:
    """Credits of the one consumer of a lossless stream."""
    return f"{PREFIX}.ack.{check_id(node, 'node')}.{check_id(stream, 'stream')}"


def ingest(node: str, stream: str, track: str = "*") -> str:
    """Packets that a publisher sends to a gateway, for capture on the stream's node; tracks as of `packets`."""
    if track != "*":
        check_id(track, "track")
    return f"{PREFIX}.ingest.{check_id(node, 'node')}.{check_id(stream, 'stream')}.{track}"


def ingest_session(node: str, stream: str) -> str:
    """That a stream has a publisher, and that it has none any more."""
    return f"{PREFIX}.ingest-session.{check_id(node, 'node')}.{check_id(stream, 'stream')}"


def ingest_key_frame(node: str, stream: str) -> str:
    """Asks the gateway that has the stream's publisher for a key picture; nothing is answered."""
    return f"{PREFIX}.ingest-key-frame.{check_id(node, 'node')}.{check_id(stream, 'stream')}"


def same_host() -> tuple[str, ...]:
    """Families of subjects that are of no use on another host: pictures that lie in shared memory, raw sound, and the
    credits of both."""
    return tuple(f"{PREFIX}.{family}.>" for family in ("frames", "audio", "ack"))


def packets(stream: str, rendition: str, track: str = "*") -> str:
    """Encoded packets; `track` is `video`, `opus`, `aac` or `*` for all."""
    if track != "*":
        check_id(track, "track")
    return f"{PREFIX}.packets.{check_id(stream, 'stream')}.{check_id(rendition, 'rendition')}.{track}"


def command(service: str, verb: str, resource: str | None = None) -> str:
    """A command that any instance answers or, with a resource id, one that only the resource's owner can."""
    check_id(service, "service")
    check_id(verb, "verb")
    if resource is None:
        return f"{PREFIX}.cmd.{service}.{verb}"
    return f"{PREFIX}.cmd.{service}.{_check_resource(resource)}.{verb}"


def event(service: str, resource: str, name: str) -> str:
    """Something that happened to a resource."""
    return f"{PREFIX}.evt.{check_id(service, 'service')}.{_check_resource(resource)}.{check_id(name, 'event')}"


def events_named(service: str, name: str) -> str:
    """One event of whichever resource of a service."""
    return f"{PREFIX}.evt.{check_id(service, 'service')}.*.{check_id(name, 'event')}"


def events_like(pattern: str) -> str:
    """Events by service, resource and name, with `*` and `>` as NATS has them; checked by who takes the pattern."""
    named, anything, _ = pattern.partition(">")
    tokens = [token for token in named.split(".") if token]
    return ".".join((PREFIX, "evt", *tokens, *("*" * (3 - len(tokens)) if anything else ())))


def all_events() -> str:
    return f"{PREFIX}.evt.>"


def audit(service: str, verb: str) -> str:
    """That a command was given which changes something."""
    return f"{PREFIX}.audit.{check_id(service, 'service')}.{check_id(verb, 'verb')}"


def all_audits(service: str = "*") -> str:
    """Every command's, or those that one service answered."""
    return f"{PREFIX}.audit.{service if service == '*' else check_id(service, 'service')}.*"


def state_key(service: str, resource: str) -> str:
    """Key of a resource in `mesh_desired` and `mesh_actual`: `capture.cam0`, `hw-encode.cam0--main`."""
    return f"{check_id(service, 'service')}.{_check_resource(resource)}"


def demand_key(node: str, stream: str, rendition: str, consumer: str) -> str:
    """Key under which a consumer shows that it needs `rendition` (or `RAW` frames) from the stream's node."""
    return ".".join(
        (
            check_id(node, "node"),
            check_id(stream, "stream"),
            check_id(rendition, "rendition"),
            check_id(consumer, "consumer"),
        )
    )


def claim_key(stream: str) -> str:
    """Key of the gateway that publishes a stream."""
    return check_id(stream, "stream")


def job_tasks() -> str:
    """Where jobs that wait for a worker go."""
    return f"{PREFIX}.jobs.frame-extractor"


def job_key(job: str) -> str:
    """Key of a job's record."""
    return f"job.{check_id(job, 'job')}"


def job_name_key(owner: str, digest: str) -> str:
    """Key under which an owner's own key, as a digest, finds its job."""
    return f"key.{check_id(owner, 'owner')}.{check_id(digest, 'digest')}"


def job_page_key(job: str, attempt: str, page: str) -> str:
    """Key of a part of the list of pictures that one attempt of a job has made."""
    return ".".join((check_id(job, "job"), check_id(attempt, "attempt"), check_id(page, "page")))


def mix_callbacks() -> str:
    """Where notices of tasks wait to be delivered."""
    return f"{PREFIX}.mix-callbacks.cloud-mix-proxy"


def mix_task_key(task: str) -> str:
    """Key of a task's record."""
    return f"task.{check_id(task, 'task')}"


def mix_task_name_key(owner: str, digest: str) -> str:
    """Key under which a task that is not done holds its name; owner and name as digests, which may be any text."""
    return f"name.{check_id(owner, 'owner')}.{check_id(digest, 'digest')}"


def mix_callback_key(task: str) -> str:
    """Key of how a task's notices have fared."""
    return f"callback.{check_id(task, 'task')}"


def mix_lease_key(task: str) -> str:
    """Key of the node that keeps a task going."""
    return check_id(task, "task")


def usage_key(owner: str, day: str) -> str:
    return f"{check_id(owner, 'owner')}.{check_id(day, 'day')}"


def presence_key(service: str, node: str, number: int = 1) -> str:
    """`number`: of the instances that share the node's work."""
    more = f"--{number}" if number > 1 else ""
    return f"{check_id(service, 'service')}.{check_id(node, 'node')}{more}"


def _check_resource(resource: str) -> str:
    if "--" in resource:
        split_compound_id(resource)
        return resource
    return check_id(resource)
