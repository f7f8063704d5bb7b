"""What the mixes of one service share."""

from dataclasses import dataclass, field

from schemas.mix_resources import MixActual, MixSpec
from services.cloud_mix_proxy.mixer.protocol import Setup
from services.cloud_mix_proxy.mixes.kept_stills import KeptStills
from services.cloud_mix_proxy.mixes.made_streams import MadeStreams
from services.cloud_mix_proxy.settings import CloudMixProxySettings
from shared.desired import Desired
from shared.reconcile import Reporter
from shared.service import Context

Mixes = Desired[MixSpec, MixActual]


@dataclass
class MixCounts:
    """Since the service began, of all its mixes."""

    restarts: int = 0
    """Processes that ended by themselves."""
    lost_inputs: int = 0
    failed_updates: int = 0
    ended: int = 0


@dataclass(frozen=True)
class MixParts:
    context: Context[CloudMixProxySettings]
    reporter: Reporter
    mixes: Mixes
    made: MadeStreams
    kept: KeptStills
    counts: MixCounts = field(default_factory=MixCounts)
    running: set[str] = field(default_factory=set)
    """Mixes that have a process, or may have one at any moment."""

    def setup(self, mix: str) -> Setup:
        """The first line for a mix's process."""
        settings = self.context.settings
        return Setup(
            mix=mix,
            node=settings.node,
            nats_url=settings.nats_url,
            nats_access=settings.bus_access(),
            shm_dir=str(settings.shm_dir),
            log=settings.log,
            delay_ms=settings.delay_ms,
            threads=settings.threads,
        )
