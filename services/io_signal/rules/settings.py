"""Settings of rules."""

from typing import Annotated

from msgspec import Meta

from shared.settings import Settings


class RuleSettings(Settings, frozen=True, kw_only=True):
    max_rules: Annotated[int, Meta(ge=1, le=4_096)] = 256
    """On one node; each listens for itself."""
    snapshots_kept: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """Picture files of rules on this node; of one more the oldest is taken away. Of 1080p they take some 300 MB."""
