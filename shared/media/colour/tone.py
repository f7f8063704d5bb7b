"""From the light of HDR (BT.2100 PQ and HLG) to pictures for ordinary displays.

The light of each pixel in cd/m2: of PQ by SMPTE ST 2084, of HLG as its display of 1000 cd/m2 shows it (BT.2100 table
5, gamma 1.2). Its brightest channel is rolled off by the curve of BT.2390-10, 5.4.1 (EETF) from the video's peak to 203
cd/m2, the white of BT.2408, and the others with it, so hues stay. What is darker than the curve's knee keeps its light.
Then the video's primaries become BT.709's, colours beyond them are cut, and sRGB (IEC 61966-2-1) encodes it.
All that is a table of 33 points an edge, in between which libavfilter's `lut3d` goes by tetrahedra.
"""

import functools
import struct

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from shared.media.colour.colours import Light, Primaries
from shared.media.colour.graphs import Step
from shared.media.colour.side_data import side_data

Light3 = npt.NDArray[np.float64]

WHITE_NITS = 203.0  # BT.2408: the white of a page in HDR, so the white of pictures
_HLG_PEAK_NITS = 1000.0  # BT.2100's own example, which most are graded for
_HLG_GAMMA = 1.2  # of a display of that peak
_PQ_PEAK_NITS = 10_000.0
# What videos are mastered for. A peak is taken for the next of them: as many tables as that, whatever headers say.
_PEAKS_NITS = (400.0, 1000.0, 2000.0, 4000.0, _PQ_PEAK_NITS)
_USUAL_PEAK_NITS = 1000.0  # of videos that do not say
_POINTS = 33  # of an edge of the table: what grading tools use
# SMPTE ST 2084
_M1, _M2 = 2610 / 16_384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
# BT.2100 table 5
_HLG_A, _HLG_B, _HLG_C = 0.178_832_77, 0.284_668_92, 0.559_910_73
_HLG_HALF = 0.5
_BT2020_LUMA = (0.2627, 0.6780, 0.0593)
# Red, green and blue, then white: x and y of CIE 1931.
_CHROMATICITIES: dict[Primaries, tuple[float, ...]] = {
    "bt709": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    "smpte431": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.3290),  # its white taken for that of all others
    "smpte432": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.3290),
    "bt2020": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.3290),
}
_SRGB_KNEE, _SRGB_SLOPE, _SRGB_OFFSET, _SRGB_GAMMA = 0.003_130_8, 12.92, 0.055, 2.4
# AVContentLightMetadata: MaxCLL, MaxFALL. AVMasteringDisplayMetadata: ten fractions, the last the peak; two flags.
_CONTENT_LIGHT = struct.Struct("=2I")
_MASTERING = struct.Struct("=20i2i")
_PEAK_AT, _HAS_LUMINANCE_AT = 18, 21  # of those fields


def tone_step(frame: VideoFrame, light: Light, primaries: Primaries) -> Step:
    """Makes gbrp16 of BT.2100 light to gbrp16 of sRGB."""
    return Step("lut3d", "interp=tetrahedral", _cube(light, primaries, _peak_nits(frame, light)))


def to_display(signal: Light3, light: Light, primaries: Primaries, peak_nits: float) -> Light3:
    """sRGB of the signal; both RGB from 0 to 1, shape (..., 3)."""
    nits = np.minimum(_pq_light(signal) if light == "pq" else _hlg_light(signal), peak_nits)
    brightest = np.maximum(nits.max(axis=-1, keepdims=True), 1e-6)
    shown = nits * (_rolled_off(brightest, peak_nits) / brightest) / WHITE_NITS
    shown = np.clip(shown @ _primaries_matrix(primaries).T, 0, 1)
    curve: Light3 = np.where(
        shown <= _SRGB_KNEE,
        shown * _SRGB_SLOPE,
        (1 + _SRGB_OFFSET) * shown ** (1 / _SRGB_GAMMA) - _SRGB_OFFSET,
    )
    return curve


@functools.cache
def _cube(light: Light, primaries: Primaries, peak_nits: float) -> bytes:
    """The file of the table; red goes fastest."""
    points = np.linspace(0, 1, _POINTS)
    blue, green, red = np.meshgrid(points, points, points, indexing="ij")
    shown = to_display(np.stack((red, green, blue), axis=-1), light, primaries, peak_nits).reshape(-1, 3)
    lines = "\n".join(f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in shown.tolist())
    return f"LUT_3D_SIZE {_POINTS}\n{lines}\n".encode()


def _peak_nits(frame: VideoFrame, light: Light) -> float:
    """That of the video's brightest pixel, as it says; else that of the display it was made on."""
    if light == "hlg":
        return _HLG_PEAK_NITS
    said = 0.0
    content = side_data(frame, "CONTENT_LIGHT_LEVEL")
    if content is not None:
        said = float(_CONTENT_LIGHT.unpack_from(content)[0])
    mastering = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if said < WHITE_NITS and mastering is not None:
        fields = _MASTERING.unpack_from(mastering)
        if fields[_HAS_LUMINANCE_AT] and fields[_PEAK_AT + 1] > 0:
            said = fields[_PEAK_AT] / fields[_PEAK_AT + 1]
    if said < WHITE_NITS:
        said = _USUAL_PEAK_NITS
    return next((peak for peak in _PEAKS_NITS if peak >= said), _PQ_PEAK_NITS)


def _pq_light(signal: Light3) -> Light3:
    root = signal ** (1 / _M2)
    light: Light3 = _PQ_PEAK_NITS * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
    return light


def _pq_signal(nits: Light3) -> Light3:
    powered = (nits / _PQ_PEAK_NITS) ** _M1
    signal: Light3 = ((_C1 + _C2 * powered) / (1 + _C3 * powered)) ** _M2
    return signal


def _hlg_light(signal: Light3) -> Light3:
    scene = np.where(
        signal <= _HLG_HALF,
        signal**2 / 3,
        (np.exp((np.maximum(signal, _HLG_HALF) - _HLG_C) / _HLG_A) + _HLG_B) / 12,
    )
    luma = np.maximum(scene @ np.array(_BT2020_LUMA), 1e-9)
    light: Light3 = _HLG_PEAK_NITS * scene * (luma ** (_HLG_GAMMA - 1))[..., np.newaxis]
    return light


def _rolled_off(nits: Light3, peak_nits: float) -> Light3:
    """BT.2390's EETF from a black of 0 to a black of 0."""
    source = _pq_signal(np.array(peak_nits))
    most = _pq_signal(np.array(WHITE_NITS)) / source
    knee = 1.5 * most - 0.5
    given = _pq_signal(nits) / source
    t = (given - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return _pq_light(np.where(given < knee, given, spline) * source)


@functools.cache
def _primaries_matrix(primaries: Primaries) -> Light3:
    """To linear RGB of BT.709."""
    matrix: Light3 = np.linalg.inv(_to_xyz("bt709")) @ _to_xyz(primaries)
    return matrix


def _to_xyz(primaries: Primaries) -> Light3:
    columns = []
    for x, y in np.array(_CHROMATICITIES[primaries]).reshape(4, 2).tolist():
        columns.append((x / y, 1.0, (1 - x - y) / y))
    rgb, white = np.array(columns[:3]).T, np.array(columns[3])
    matrix: Light3 = rgb * np.linalg.solve(rgb, white)
    return matrix
