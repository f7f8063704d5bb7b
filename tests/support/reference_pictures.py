"""Pictures whose every colour is known, as frames of any matrix, range, depth and layout, made by formulas alone.

Matrices and ranges by ITU-T H.273, in floating point: nothing here is shared with what is tested.
"""

import io
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

Rgb = npt.NDArray[np.float64]

# Kr and Kb.
MATRICES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
            9: (0.2627, 0.0593)}  # fmt: skip
LIMITED, FULL = 1, 2


def rgb_truth(width: int, height: int) -> Rgb:
    """A gradient in each channel, each another way, from 0 to 1; no two corners are alike."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x / max(1, width - 1), y / max(1, height - 1)
    return np.stack((red, green, 1 - (red + green) / 2), axis=-1) * 0.9 + 0.05


def yuv_frame(
    rgb: Rgb, matrix: int = 1, *, full: bool = False, bits: int = 8, layout: str = "420", say: bool = True
) -> av.VideoFrame:
    """RGB as planes; `say` false: the frame keeps its matrix and range to itself."""
    height, width = rgb.shape[:2]
    kr, kb = MATRICES[matrix]
    luma = rgb @ (kr, 1 - kr - kb, kb)
    blue, red = (rgb[..., 2] - luma) / 2 / (1 - kb), (rgb[..., 0] - luma) / 2 / (1 - kr)
    scale = 2 ** (bits - 8)
    top = 2**bits - 1
    spans = (top, top) if full else (219 * scale, 224 * scale)
    planes = [luma * spans[0] + (0 if full else 16 * scale)]
    planes += [_reduced(plane, layout) * spans[1] + 128 * scale for plane in (blue, red)]
    name = f"yuv{layout}p" + (f"{bits}le" if bits > 8 else "")
    frame = av.VideoFrame(width, height, name)
    for target, plane in zip(frame.planes, planes, strict=True):
        put(target, np.clip(np.round(plane), 0, top).astype(np.uint8 if bits == 8 else np.uint16))
    if say:
        frame.colorspace, frame.color_range = matrix, FULL if full else LIMITED
    return frame


def _reduced(plane: Rgb, layout: str) -> Rgb:
    height, width = plane.shape
    down, across = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}[layout]
    padded = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge")
    return padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across).mean(axis=(1, 3))


def put(plane: Any, samples: npt.NDArray[Any]) -> None:
    view = np.ndarray(samples.shape, samples.dtype, plane, strides=(plane.line_size, *samples.strides[1:]))
    view[:] = samples


def opened(data: bytes) -> Rgb:
    """A file as RGB from 0 to 1, as another decoder reads it."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.float64) / 255


def psnr(shown: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """dB, of values from 0 to 1."""
    assert shown.shape == truth.shape
    error = float(np.mean((shown.astype(np.float64) - truth) ** 2))
    return float(10 * np.log10(1 / max(error, 1e-12)))
