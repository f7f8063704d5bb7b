"""What a driver says of its pictures' colours: linux/videodev2.h, `enum v4l2_colorspace` and those that follow it."""

from typing import Any, Final

from schemas.colours import UNSPECIFIED, ColourSpace, Matrix, Primaries, Range, Transfer

_PRIV_MAGIC: Final = 0xFEEDCAFE  # V4L2_PIX_FMT_PRIV_MAGIC: the fields after it mean something
_DEFAULT: Final = 0  # of each: goes by the colour space, and a driver that gives none of that says nothing
_JPEG: Final = 7  # V4L2_COLORSPACE_JPEG: sRGB in BT.601 of full range
# Each colour space: its primaries, the transfer and the matrix that it has when no other is named. What is not here is
# BT.601 (V4L2_MAP_YCBCR_ENC_DEFAULT), as webcams' sRGB is.
_SPACES: Final[dict[int, tuple[Primaries, Transfer, Matrix]]] = {
    1: ("smpte170m", "bt709", "smpte170m"),
    2: ("smpte240m", "smpte240m", "smpte240m"),
    3: ("bt709", "bt709", "bt709"),
    5: ("bt470m", "bt709", "smpte170m"),
    6: ("bt470bg", "bt709", "smpte170m"),
    7: ("bt709", "iec61966-2-1", "smpte170m"),
    8: ("bt709", "iec61966-2-1", "smpte170m"),
    10: ("bt2020", "bt709", "bt2020nc"),
    12: ("smpte431", "unspecified", "bt709"),
}
_MATRICES: Final[dict[int, Matrix]] = {
    1: "smpte170m", 2: "bt709", 3: "smpte170m", 4: "bt709", 5: "smpte170m", 6: "bt2020nc", 7: "bt2020c", 8: "smpte240m",
}  # fmt: skip
_TRANSFERS: Final[dict[int, Transfer]] = {
    1: "bt709", 2: "iec61966-2-1", 4: "smpte240m", 5: "linear", 7: "smpte2084",
}  # fmt: skip
_RANGES: Final[dict[int, Range]] = {1: "full", 2: "limited"}


def driver_colours(pix: Any) -> ColourSpace:
    """Of YUV in an agreed `v4l2_pix_format` or `v4l2_pix_format_mplane`."""
    if pix.colorspace == _DEFAULT:
        return UNSPECIFIED
    # The form for several planes has always had the fields, and no word that says so.
    known = getattr(pix, "priv", _PRIV_MAGIC) == _PRIV_MAGIC
    matrix, transfer, levels = (pix.ycbcr_enc, pix.xfer_func, pix.quantization) if known else (_DEFAULT,) * 3
    primaries, usual_transfer, usual_matrix = _SPACES.get(pix.colorspace, ("unspecified", "unspecified", "smpte170m"))
    return ColourSpace(
        matrix=_MATRICES.get(matrix, usual_matrix),
        range=_RANGES.get(levels, "full" if pix.colorspace == _JPEG else "limited"),
        primaries=primaries,
        transfer=_TRANSFERS.get(transfer, usual_transfer),
    )
