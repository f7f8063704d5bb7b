"""Keys in buckets: what shall be, what is, and what services keep."""

from schemas import subjects
from schemas.channel import Channel, kv_subject
from schemas.channels.building import epoch, job_keys, job_secret, keys, secret, state, stream_id, template
from schemas.channels.parties import OBSERVERS, RUNNING_SERVICES
from schemas.extraction import JobRecord, UsageRecord
from schemas.ingest import PublishClaim
from schemas.kept import SchemaVersion
from schemas.mix_resources import MixActual, MixSpec
from schemas.mix_tasks import CallbackState, NameHolder, TaskRecord
from schemas.resources import (
    OutputActual,
    OutputSpec,
    Presence,
    RenditionActual,
    RenditionSpec,
    StreamActual,
    StreamSpec,
)
from schemas.sample_resources import SampleActual, SampleClaim, SampleSpec
from schemas.signal_resources import (
    INPUT_STATES,
    RULE_STATES,
    SIGNAL_STATES,
    InputActual,
    InputSpec,
    RuleActual,
    RuleSpec,
    SignalActual,
    SignalSpec,
)

STATE = (
    state(subjects.DESIRED_BUCKET, "capture", "", StreamSpec, "Streams that shall be."),
    state(subjects.DESIRED_BUCKET, "hw-encode", "rendition", RenditionSpec, "Renditions that shall be."),
    state(subjects.DESIRED_BUCKET, "publisher", "output", OutputSpec, "Outputs that shall be."),
    state(subjects.DESIRED_BUCKET, "frame-extractor", "sample", SampleSpec, "Samples that shall be."),
    state(subjects.DESIRED_BUCKET, "cloud-mix-proxy", "mix", MixSpec, "Mixes that shall be."),
    state(subjects.DESIRED_BUCKET, "io-signal", "signal", SignalSpec, "Signals that shall be.", SIGNAL_STATES),
    state(subjects.DESIRED_BUCKET, "io-signal", "input", InputSpec, "Inputs that shall be.", INPUT_STATES),
    state(subjects.DESIRED_BUCKET, "io-signal", "rule", RuleSpec, "Rules that shall be.", RULE_STATES),
    state(subjects.ACTUAL_BUCKET, "capture", "", StreamActual, "Streams as they are."),
    state(subjects.ACTUAL_BUCKET, "hw-encode", "rendition", RenditionActual, "Renditions as they are."),
    state(subjects.ACTUAL_BUCKET, "publisher", "output", OutputActual, "Outputs as they are."),
    state(subjects.ACTUAL_BUCKET, "frame-extractor", "sample", SampleActual, "Samples as they are."),
    state(subjects.ACTUAL_BUCKET, "cloud-mix-proxy", "mix", MixActual, "Mixes as they are."),
    state(subjects.ACTUAL_BUCKET, "io-signal", "signal", SignalActual, "Signals as they are.", SIGNAL_STATES),
    state(subjects.ACTUAL_BUCKET, "io-signal", "input", InputActual, "Inputs as they are.", INPUT_STATES),
    state(subjects.ACTUAL_BUCKET, "io-signal", "rule", RuleActual, "Rules as they are.", RULE_STATES),
    Channel(
        name="demand",
        address=kv_subject(
            subjects.DEMAND_BUCKET, template(subjects.demand_key, "node", "stream", "rendition", "consumer")
        ),
        semantics="kv",
        payload=None,
        encoding="empty",
        senders=(
            "hw-encode",
            "publisher",
            "webrtc-gateway",
            "frame-extractor",
            "cloud-mix-proxy",
            "io-signal",
            "writer",
            "transformer",
            "client",
        ),
        receivers=("capture", "hw-encode", "cloud-mix-proxy", "writer", "transformer"),
        summary="Somebody needs this; forgotten when it is not refreshed.",
        bucket=subjects.DEMAND_BUCKET,
        read="watch",
        bound={
            "hw-encode": {"rendition": subjects.RAW},
            "frame-extractor": {"rendition": subjects.RAW},
            "cloud-mix-proxy": {"rendition": subjects.RAW},
            "io-signal": {"rendition": subjects.RAW},
        },
    ),
    Channel(
        name="presence",
        address=kv_subject(subjects.PRESENCE_BUCKET, template(subjects.presence_key, "service", "node")),
        semantics="kv",
        payload=Presence,
        senders=RUNNING_SERVICES,
        receivers=OBSERVERS,
        summary="A service runs on a node; forgotten when it is not refreshed.",
        bucket=subjects.PRESENCE_BUCKET,
        read="watch",
        bound={service: {"service": service} for service in RUNNING_SERVICES},
    ),
    Channel(
        name="claims",
        address=kv_subject(subjects.CLAIM_BUCKET, template(subjects.claim_key, "stream")),
        semantics="kv",
        payload=PublishClaim,
        senders=("webrtc-gateway",),
        receivers=("webrtc-gateway",),
        summary="The gateway that publishes the stream; forgotten when it is not refreshed.",
        bucket=subjects.CLAIM_BUCKET,
        read="get",
        compare_and_set=True,
    ),
    job_keys(
        "jobs.record", subjects.JOBS_BUCKET, subjects.job_key, ("job",), JobRecord, "A job, for three days.", "watch"
    ),
    job_keys(
        "jobs.key", subjects.JOBS_BUCKET, subjects.job_name_key, ("owner", "digest"), None, "The job of an owner's key."
    ),
    job_keys(
        "job-pages",
        subjects.JOB_PAGES_BUCKET,
        subjects.job_page_key,
        ("job", "attempt", "page"),
        None,
        "A part of a job's list of pictures (`ExtractedFrame`), JSON, compressed with zlib.",
    ),
    keys(
        subjects.SAMPLES_BUCKET,
        "frame-extractor",
        subjects.state_key("frame-extractor", stream_id("sample")),
        SampleClaim,
        "The last picture that a sample takes.",
        receivers=("frame-extractor",),
        read="get",
        compare_and_set=True,
    ),
    job_keys(
        "usage", subjects.USAGE_BUCKET, subjects.usage_key, ("owner", "day"), UsageRecord, "What owners had.", "watch"
    ),
    job_keys(
        "mix-tasks.record",
        subjects.MIX_TASKS_BUCKET,
        subjects.mix_task_key,
        ("task",),
        TaskRecord,
        "A CloudMix task, for a week after its end.",
        "watch",
        service="cloud-mix-proxy",
    ),
    job_keys(
        "mix-tasks.name",
        subjects.MIX_TASKS_BUCKET,
        subjects.mix_task_name_key,
        ("owner", "digest"),
        NameHolder,
        "The task that has a name among an owner's that are not done; both as digests.",
        service="cloud-mix-proxy",
    ),
    job_keys(
        "mix-tasks.callback",
        subjects.MIX_TASKS_BUCKET,
        subjects.mix_callback_key,
        ("task",),
        CallbackState,
        "How the notices of a task have fared.",
        service="cloud-mix-proxy",
    ),
    job_keys(
        "mix-leases",
        subjects.MIX_LEASES_BUCKET,
        subjects.mix_lease_key,
        ("task",),
        None,
        "The node that keeps a task going; forgotten when it is not refreshed.",
        service="cloud-mix-proxy",
    ),
    Channel(
        name="schema",
        address=kv_subject(subjects.SCHEMA_BUCKET, "{service}"),
        semantics="kv",
        payload=SchemaVersion,
        senders=RUNNING_SERVICES,
        receivers=(),
        summary="The version that a service's records are of; it brings them up to date at its start.",
        bucket=subjects.SCHEMA_BUCKET,
        compare_and_set=True,
        bound={service: {"service": service} for service in RUNNING_SERVICES},
    ),
    epoch(("capture", "cloud-mix-proxy", "writer"), "", "The stream's last epoch, decimal."),
    epoch(("hw-encode", "transformer"), "rendition", "The last run of the rendition's packets, decimal."),
    secret("capture", "", "Full URL of a source that has credentials."),
    job_secret(),
    secret("cloud-mix-proxy", "mix", "Full URLs of a mix's inputs and logos that have credentials, as JSON."),
    secret("publisher", "output", "Full URL of a destination that has credentials or a stream key."),
)
