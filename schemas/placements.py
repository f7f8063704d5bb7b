"""Where each bucket lives in a mesh of several hosts: on the hub, or on the leaf, the nats-server of an edge host.

Without leaves there is one nats-server or one cluster, which is the hub, and has them all.
"""

from typing import Final, Literal

from schemas import subjects

Placement = Literal["copied", "owned", "passed", "hub", "local"]
"""Of a bucket, for who is connected to a leaf:

`copied`: the hub has the truth and takes the writes; the leaf has a copy, which everybody on the host reads.
`owned`: who reports writes on its own host; the leaf tells the hub, and has what others say from there.
`passed`: as `owned`, of keys that lapse: each write is passed on as it comes, and nothing is caught up with.
`hub`: on the hub alone; a host that is cut off does without.
`local`: of each JetStream its own."""

PLACEMENTS: Final[dict[str, Placement]] = {
    subjects.DESIRED_BUCKET: "copied",
    subjects.SECRETS_BUCKET: "copied",
    subjects.ACTUAL_BUCKET: "owned",
    subjects.PRESENCE_BUCKET: "passed",
    subjects.DEMAND_BUCKET: "passed",
    # A stream has one node, and its epochs are the clock: who starts it again needs no hub.
    subjects.EPOCH_BUCKET: "local",
    subjects.SAMPLES_BUCKET: "local",
    # Whoever is first anywhere has it: that only one place can tell.
    subjects.CLAIM_BUCKET: "hub",
    subjects.JOBS_BUCKET: "hub",
    subjects.JOB_PAGES_BUCKET: "hub",
    subjects.USAGE_BUCKET: "hub",
    subjects.MIX_TASKS_BUCKET: "hub",
    subjects.MIX_LEASES_BUCKET: "hub",
}

HUB_DOMAIN: Final = "hub"
"""The JetStream domain of the hub's servers."""
_LEAF_DOMAIN: Final = "leaf-"
_COPY: Final = "_copy"


def leaf_domain(node: str) -> str:
    """The JetStream domain of a node's leaf; the leaf's user on the hub has this name too."""
    return f"{_LEAF_DOMAIN}{node}"


def node_of_domain(domain: object) -> str | None:
    """The node whose leaf a server of this domain is; None: it is no leaf."""
    if not isinstance(domain, str) or not domain.startswith(_LEAF_DOMAIN):
        return None
    return domain.removeprefix(_LEAF_DOMAIN) or None


def copy_bucket(bucket: str) -> str:
    """What a leaf's copy of a bucket is called: its values begin with the hub's revision, so it is no bucket of the
    contract."""
    return bucket + _COPY


def placement_of(bucket: str) -> Placement:
    return PLACEMENTS.get(bucket, "local")
