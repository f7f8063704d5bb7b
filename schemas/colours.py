"""What the numbers of a picture mean as colours: the code points of ITU-T H.273, by FFmpeg's names."""

from typing import Final, Literal, get_args

from msgspec import Struct

Matrix = Literal[
    "unspecified", "rgb", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "ycgco", "bt2020nc", "bt2020c",
    "smpte2085", "chroma-derived-nc", "chroma-derived-c", "ictcp",
]  # fmt: skip
"""How YUV was made of RGB. `bt470bg` and `smpte170m` are both BT.601; `rgb`: it was not."""
Range = Literal["unspecified", "limited", "full"]
"""Whether samples of 8 bits go from 16 to 235 (video), or from 0 to 255 (pictures)."""
Primaries = Literal[
    "unspecified", "bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020", "smpte428", "smpte431",
    "smpte432", "ebu3213",
]  # fmt: skip
Transfer = Literal[
    "unspecified", "bt709", "gamma22", "gamma28", "smpte170m", "smpte240m", "linear", "log100", "log316",
    "iec61966-2-4", "bt1361e", "iec61966-2-1", "bt2020-10", "bt2020-12", "smpte2084", "smpte428", "arib-std-b67",
]  # fmt: skip
"""How light became numbers. `smpte2084` is PQ, `arib-std-b67` HLG, `iec61966-2-1` sRGB."""


# Part of every frame reference, so not told to the garbage collector, as no cycle can begin here.
class ColourSpace(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How the samples of a picture are to be read.

    A matrix that is not specified is BT.601 below 720 lines of height and BT.709 from there on, a range limited.
    """

    matrix: Matrix = "unspecified"
    range: Range = "unspecified"
    primaries: Primaries = "unspecified"
    transfer: Transfer = "unspecified"


UNSPECIFIED: Final = ColourSpace()
"""Nothing is said. The one object that references leave out, so use it and make no other."""
RGB: Final = ColourSpace(matrix="rgb", range="full")

# H.273 tables 4, 2 and 3, by the order of the names; ranges as libav counts them. They are in rings, and never change.
_MATRIX: Final = (2, 0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
_PRIMARIES: Final = (2, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22)
_TRANSFER: Final = (2, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
MATRIX_CODES: Final[dict[Matrix, int]] = dict(zip(get_args(Matrix), _MATRIX, strict=True))
RANGE_CODES: Final[dict[Range, int]] = {"unspecified": 0, "limited": 1, "full": 2}
PRIMARIES_CODES: Final[dict[Primaries, int]] = dict(zip(get_args(Primaries), _PRIMARIES, strict=True))
TRANSFER_CODES: Final[dict[Transfer, int]] = dict(zip(get_args(Transfer), _TRANSFER, strict=True))
_MATRICES: Final = {code: name for name, code in MATRIX_CODES.items()}
_RANGES: Final = {code: name for name, code in RANGE_CODES.items()}
_PRIMARY_NAMES: Final = {code: name for name, code in PRIMARIES_CODES.items()}
_TRANSFERS: Final = {code: name for name, code in TRANSFER_CODES.items()}


def colour_space(matrix: int, colour_range: int, primaries: int, transfer: int) -> ColourSpace:
    """Of the codes of H.273 and libav's AVColorRange; those that mean nothing here say nothing."""
    found = ColourSpace(
        matrix=_MATRICES.get(matrix, "unspecified"),
        range=_RANGES.get(colour_range, "unspecified"),
        primaries=_PRIMARY_NAMES.get(primaries, "unspecified"),
        transfer=_TRANSFERS.get(transfer, "unspecified"),
    )
    return UNSPECIFIED if found == UNSPECIFIED else found


def codes(space: ColourSpace) -> tuple[int, int, int, int]:
    """As `colour_space` takes them: matrix, range, primaries, transfer."""
    return (
        MATRIX_CODES[space.matrix],
        RANGE_CODES[space.range],
        PRIMARIES_CODES[space.primaries],
        TRANSFER_CODES[space.transfer],
    )
