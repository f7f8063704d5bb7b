"""Settings of io-signal; the hand is told of those that say where devices may be."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from services.io_signal.hand.drivers.base import PRIVATE_NETWORKS, Limits
from services.io_signal.rules.settings import RuleSettings


class IoSignalSettings(RuleSettings, frozen=True, kw_only=True):
    file_roots: tuple[Path, ...] = ()
    """Folders with control files that may be written; none: no control file is."""
    serial_roots: tuple[Path, ...] = (Path("/dev"),)
    tcp_allow: tuple[str, ...] = PRIVATE_NETWORKS
    """Networks, addresses and names of hosts that texts and Modbus may go to."""
    max_signals: Annotated[int, Meta(ge=1, le=1_024)] = 64
    max_inputs: Annotated[int, Meta(ge=1, le=1_024)] = 64
    """Both: on this node."""

    @property
    def limits(self) -> Limits:
        return Limits(file_roots=self.file_roots, serial_roots=self.serial_roots, tcp_allow=self.tcp_allow)
