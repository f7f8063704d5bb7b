"""Settings of the fleet over containers."""

from shared.settings import Settings


class FleetSettings(Settings, frozen=True, kw_only=True):
    project: str = ""
    """Of compose; empty: the only one that runs framemesh here. `DOCKER_HOST` names another Docker than the usual."""
