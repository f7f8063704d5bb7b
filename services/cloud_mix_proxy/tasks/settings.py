"""Settings of tasks, of their callbacks, and of the cloud that may take them."""

from typing import Annotated, Literal

from msgspec import Meta

from services.cloud_mix_proxy.edge.settings import EdgeSettings

CloudUrl = Annotated[str, Meta(pattern=r"^(https?://[^/?#@\s]+)?$(?!\n)", description="https://host[:port]")]


class TaskSettings(EdgeSettings, frozen=True, kw_only=True):
    public_only: bool = True
    """Addresses that tasks name (sources, logos, outputs, callbacks) within private networks, and files, are refused.
    Off where all who have a key are trusted with this network."""
    max_tasks: Annotated[int, Meta(ge=1, le=10_000)] = 16
    """That are not done, of all owners; more are refused."""
    max_tasks_per_key: Annotated[int, Meta(ge=1, le=10_000)] = 8
    """That are not done, of one owner."""
    lost_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    """All sources lost for so long end a task, as the API has it."""
    task_hours: Annotated[float, Meta(gt=0, le=720)] = 72.0
    """So long after its creation a task ends, as the API has it."""
    prepare_seconds: Annotated[float, Meta(ge=1, le=3_600)] = 120.0
    """A task that does not run by then ends, and says why: its name is free again, and nothing is left behind."""
    callback_key: str = ""
    """Signs callbacks: `sign` is the MD5 of it and `t`. Empty: they are not signed. Give it as a file."""
    upstream_url: CloudUrl = ""
    """The CloudMix API that may take tasks in place of this node; empty: none does."""
    upstream_access_key: str = ""
    upstream_secret_key: str = ""
    """Give it as a file."""
    upstream_region: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")] = "cn-north-1"
    upstream_default: Literal["local", "cloud"] = "local"
    """Where a task goes whose name does not tell."""
    upstream_names: tuple[str, ...] = ()
    """Patterns, as `cloud-*`: tasks of such names go to the cloud; with `!` before them to this node."""
    upstream_fallback: bool = True
    """What the cloud refuses, or does not take within `upstream_seconds`, is mixed here. Off: it ends, and says why."""
    upstream_seconds: Annotated[float, Meta(ge=1, le=600)] = 20.0
