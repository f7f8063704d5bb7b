"""Settings of capture."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from shared.packet_ring import PacketRingSettings


class CaptureSettings(PacketRingSettings, frozen=True, kw_only=True):
    file_roots: tuple[Path, ...] = ()
    """Folders that file:// sources may be in; files elsewhere are refused."""
    ring_slots: Annotated[int, Meta(ge=4, le=64)] = 8
    """Pictures a frame ring holds: what readers may lease at once plus what the writer needs to go on."""
    open_timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 5.0
    read_timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 5.0
    """A source that sends nothing for this long is reconnected."""
    kept_file_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 2 << 30
    """Files behind http:// whose server knows no byte ranges are kept in `data_dir` while they are played, up to this
    size each. What is larger is played in order, where its container allows that."""
    min_free_bytes: Annotated[int, Meta(ge=0)] = 512 << 20
    """So much of the disk of `data_dir` such files leave to recordings and to the bus."""
    genicam_backend: Literal["auto", "aravis", "harvesters"] = "auto"
    """What speaks to genicam:// cameras: the system's libaravis, or harvesters with GenTL producers."""
    genicam_producers: tuple[Path, ...] = ()
    """GenTL producers: .cti files, or folders of them; those of GENICAM_GENTL64_PATH are used besides."""
    genicam_interfaces: tuple[str, ...] = ()
    """Network interfaces, by name or address, where GigE cameras are looked for; empty: all but loopback."""
    onvif_interfaces: tuple[str, ...] = ()
    """Network interfaces, by name, where ONVIF cameras are looked for; empty: all."""
