"""The cameras' pixel formats and ours.

Names and codes are those of GenICam's Pixel Format Naming Convention 2.1 and of GigE Vision 1.x, little endian.
What has 10 or 12 bits in Mono keeps its value in the low bits (gray10le, gray12le). There are no such formats for 14
bits and for Bayer, so those are shifted up to 16 bits: full scale stays full scale.
"""

from dataclasses import dataclass
from typing import Literal

from schemas.colours import Matrix
from schemas.frames import PixelFormat

Packing = Literal["plain", "packed", "p"]
"""`plain`: whole bytes; `packed`: two samples in 3 bytes as GigE Vision packs; `p`: samples one after the other."""


@dataclass(frozen=True)
class CameraFormat:
    """One pixel format of cameras, and what its pictures become."""

    name: str
    code: int
    becomes: str
    """libav's name: a PixelFormat, or what is converted to one."""
    bits: int
    """Of a sample."""
    shift: int = 0
    """Samples are moved up by so many bits."""
    packing: Packing = "plain"
    aliases: tuple[str, ...] = ()
    matrix: Matrix = "unspecified"

    def image_bytes(self, width: int, height: int) -> int:
        """Bytes of a picture without padding."""
        return (width * height * ((self.code >> 16) & 0xFF) + 7) // 8


def _mono() -> list[CameraFormat]:
    return [
        CameraFormat("Mono8", 0x01080001, "gray", 8),
        CameraFormat("Mono10", 0x01100003, "gray10le", 10),
        CameraFormat("Mono10p", 0x010A0046, "gray10le", 10, packing="p"),
        CameraFormat("Mono10Packed", 0x010C0004, "gray10le", 10, packing="packed"),
        CameraFormat("Mono12", 0x01100005, "gray12le", 12),
        CameraFormat("Mono12p", 0x010C0047, "gray12le", 12, packing="p"),
        CameraFormat("Mono12Packed", 0x010C0006, "gray12le", 12, packing="packed"),
        CameraFormat("Mono14", 0x01100025, "gray16le", 14, shift=2),
        CameraFormat("Mono16", 0x01100007, "gray16le", 16),
    ]


# Tile: libav's name, codes of 8, 10, 12, 16, 10p, 12p, 10Packed, 12Packed.
_TILES = {
    "RG": ("rggb", 0x01080009, 0x0110000D, 0x01100011, 0x0110002F, 0x010A0058, 0x010C0059, 0x010C0027, 0x010C002B),
    "GB": ("gbrg", 0x0108000A, 0x0110000E, 0x01100012, 0x01100030, 0x010A0054, 0x010C0055, 0x010C0028, 0x010C002C),
    "GR": ("grbg", 0x01080008, 0x0110000C, 0x01100010, 0x0110002E, 0x010A0056, 0x010C0057, 0x010C0026, 0x010C002A),
    "BG": ("bggr", 0x0108000B, 0x0110000F, 0x01100013, 0x01100031, 0x010A0052, 0x010C0053, 0x010C0029, 0x010C002D),
}


def _bayer() -> list[CameraFormat]:
    formats = []
    for tile, (ours, eight, ten, twelve, sixteen, ten_p, twelve_p, ten_packed, twelve_packed) in _TILES.items():
        deep = f"bayer_{ours}16le"
        formats += [
            CameraFormat(f"Bayer{tile}8", eight, f"bayer_{ours}8", 8),
            CameraFormat(f"Bayer{tile}16", sixteen, deep, 16),
            CameraFormat(f"Bayer{tile}12", twelve, deep, 12, 4),
            CameraFormat(f"Bayer{tile}12p", twelve_p, deep, 12, 4, "p"),
            CameraFormat(f"Bayer{tile}12Packed", twelve_packed, deep, 12, 4, "packed"),
            CameraFormat(f"Bayer{tile}10", ten, deep, 10, 6),
            CameraFormat(f"Bayer{tile}10p", ten_p, deep, 10, 6, "p"),
            CameraFormat(f"Bayer{tile}10Packed", ten_packed, deep, 10, 6, "packed"),
        ]
    return formats


_SD: Matrix = "smpte170m"
FORMATS: tuple[CameraFormat, ...] = (
    *_mono(),
    *_bayer(),
    CameraFormat("RGB8", 0x02180014, "rgb24", 8, aliases=("RGB8Packed",)),
    CameraFormat("BGR8", 0x02180015, "bgr24", 8, aliases=("BGR8Packed",)),
    # All but those that name BT.709 are made by the formulas of BT.601, whatever the size.
    CameraFormat("YUV422_8", 0x02100032, "yuyv422", 8, aliases=("YUV422_YUYV_Packed", "YUYVPacked"), matrix=_SD),
    CameraFormat("YUV422_8_UYVY", 0x0210001F, "uyvy422", 8, aliases=("YUV422Packed",), matrix=_SD),
    CameraFormat("YCbCr422_8", 0x0210003B, "yuyv422", 8, matrix=_SD),
    CameraFormat("YCbCr601_422_8", 0x0210003E, "yuyv422", 8, matrix=_SD),
    CameraFormat("YCbCr709_422_8", 0x02100041, "yuyv422", 8, matrix="bt709"),
    CameraFormat("YCbCr422_8_CbYCrY", 0x02100043, "uyvy422", 8, matrix=_SD),
)
BY_CODE = {known.code: known for known in FORMATS}
_BY_NAME = {name: known for known in FORMATS for name in (known.name, *known.aliases)}

# What is asked of a camera for pictures in 4:2:0, best first: colour without conversion of colour, then with.
_FOR_YUV420 = ("yuyv422", "uyvy422", "rgb24", "bgr24", "bayer_", "gray")


def known_format(name: str) -> CameraFormat | None:
    """By the camera's own name."""
    return _BY_NAME.get(name)


def choose(
    entries: tuple[str, ...], current: str, pixel_format: PixelFormat | None, bit_depth: int | None
) -> str | None:
    """Which of the camera's formats to use: the current one if it will do; None when it has none.

    Args:
        entries: what the camera has now.
        pixel_format, bit_depth: what is asked for; of bit_depth alone, of the same kind (Mono, Bayer) as now.
    """
    usable = [(name, known) for name in entries if (known := _BY_NAME.get(name))]
    if pixel_format in ("yuv420p", "nv12"):
        usable = [pair for start in _FOR_YUV420 for pair in usable if pair[1].becomes.startswith(start)]
        eight = [pair for pair in usable if pair[1].bits == (bit_depth or 8)]
        usable = eight if eight or bit_depth else usable
    elif pixel_format is not None:
        usable = [pair for pair in usable if pair[1].becomes == pixel_format]
    elif bit_depth is not None and current in _BY_NAME:
        usable = [pair for pair in usable if _kind(pair[1]) == _kind(_BY_NAME[current])]
    if bit_depth is not None:
        usable = [pair for pair in usable if pair[1].bits == bit_depth]
    names = [name for name, _ in usable]
    if current in names:
        return current
    # Whole bytes before packed ones: they cost the wire more and the processor nothing.
    names.sort(key=lambda name: (-_BY_NAME[name].bits if pixel_format else 0, _BY_NAME[name].packing != "plain"))
    return names[0] if names else None


def _kind(known: CameraFormat) -> str:
    return known.becomes.rstrip("0123456789le") if known.becomes.startswith(("gray", "bayer")) else known.becomes
