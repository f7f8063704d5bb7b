"""The form of each key-value bucket: what whoever opens it first makes it with."""

from msgspec import Struct

from schemas import subjects

_DAY_SECONDS = 86_400


class BucketForm(Struct, frozen=True, kw_only=True):
    """How a bucket is kept."""

    history: int = 1
    """Revisions of a key that can still be read."""
    ttl_seconds: float | None = None
    """Keys lapse when they are not written again for so long; None: never."""
    memory: bool = False
    """Gone with the server, and made again by whoever needs it."""
    own_keys: bool = False
    """Parties may read keys of their own only."""
    direct: bool = True
    """Any server that has it answers for a key; not in a locked mesh, where that would let the server be used."""
    max_bytes: int = 64 << 20
    """With their subjects; a full one refuses more."""


PRESENCE_TTL_SECONDS = 10.0
DEMAND_TTL_SECONDS = 5.0
CLAIM_TTL_SECONDS = 4.0
MIX_LEASE_TTL_SECONDS = 6.0
JOB_LIFE_SECONDS = 3 * _DAY_SECONDS  # as long as the service that this one stands in for keeps a task
_PAGES_LIFE_SECONDS = JOB_LIFE_SECONDS + 600  # never before the job that they are of
_USAGE_LIFE_SECONDS = 400 * _DAY_SECONDS  # a year and the month in which its bill is questioned

USUAL = BucketForm()
FORMS: dict[str, BucketForm] = {
    # What a change can be taken back to.
    subjects.DESIRED_BUCKET: BucketForm(history=5),
    # A reference names a revision; a refused command may have written newer ones, which must not be used in its place.
    subjects.SECRETS_BUCKET: BucketForm(history=16, own_keys=True),
    subjects.PRESENCE_BUCKET: BucketForm(ttl_seconds=PRESENCE_TTL_SECONDS, memory=True),
    subjects.DEMAND_BUCKET: BucketForm(ttl_seconds=DEMAND_TTL_SECONDS, memory=True),
    subjects.CLAIM_BUCKET: BucketForm(ttl_seconds=CLAIM_TTL_SECONDS),
    subjects.MIX_LEASES_BUCKET: BucketForm(ttl_seconds=MIX_LEASE_TTL_SECONDS),
    # Some hundred thousand jobs of three days.
    subjects.JOBS_BUCKET: BucketForm(ttl_seconds=JOB_LIFE_SECONDS, max_bytes=128 << 20),
    # Compressed, a picture takes some ten bytes.
    subjects.JOB_PAGES_BUCKET: BucketForm(ttl_seconds=_PAGES_LIFE_SECONDS, max_bytes=512 << 20),
    # 400 days of 36 owners with as many jobs as are remembered, 9 KB each.
    subjects.USAGE_BUCKET: BucketForm(ttl_seconds=_USAGE_LIFE_SECONDS, max_bytes=128 << 20),
}


def form_of(bucket: str) -> BucketForm:
    return FORMS.get(bucket, USUAL)
