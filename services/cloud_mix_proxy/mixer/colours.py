"""Colours of stills and texts as the canvas has them: limited range, BT.601 below 720 lines and BT.709 from there."""

from typing import Final

import numpy as np
import numpy.typing as npt

from services.cloud_mix_proxy.mixer.layer import OPAQUE, Alpha, Part, weights_of
from services.cloud_mix_proxy.mixer.rect import Rect
from shared.media.colour.facts import HD_LINES

_RED_BLUE: Final = {False: (0.299, 0.114), True: (0.2126, 0.0722)}  # luma's shares, BT.601 and BT.709
_LUMA_STEPS, _COLOUR_STEPS, _BLACK, _GREY = 219, 224, 16, 128  # of limited range, ITU-R BT.601 section 2.5.3

RgbImage = npt.NDArray[np.uint8]
_Shares = npt.NDArray[np.float64]


def yuv_of(colour: str, height: int) -> tuple[int, int, int]:
    """`#rrggbb` as Y, U, V of a canvas of so many lines."""
    rgb = np.array([[[int(colour[at : at + 2], 16) for at in (1, 3, 5)]]], np.float64)
    y, u, v = (int(np.rint(plane[0, 0])) for plane in _yuv(rgb, height >= HD_LINES))
    return y, u, v


def planes_of(image: RgbImage, hd: bool) -> tuple[list[npt.NDArray[np.uint8]], Alpha | None]:
    """Y, U, V of an image of even edges, and how opaque it is; None: opaque everywhere.

    The colour of two by two samples is their mean, weighted by how much is seen of each: what lies hidden in the
    transparent part of a logo does not shine through at its edge.

    Args:
        image: RGBA or RGB, shape (height, width, 4 or 3).
    """
    luma, *colours = _yuv(image[..., :3].astype(np.float64), hd)
    opacity = image[..., 3].astype(np.float64) / 255 if image.shape[2] == 4 else np.ones(luma.shape, np.float64)
    seen = _of_four(opacity)
    planes = [luma] + [_of_four(plane * opacity) / np.maximum(seen, 1e-6) for plane in colours]
    planes[1:] = [np.where(seen > 0, plane, _GREY) for plane in planes[1:]]
    rounded = [np.rint(plane).astype(np.uint8) for plane in planes]
    return rounded, None if opacity.min() >= 1 else Alpha(weights_of(opacity), weights_of(seen))


def seen_parts(alpha: Alpha | None, opacity: float, height: int, width: int) -> list[Part]:
    """The parts of a layer: without the edges of which nothing is seen."""
    if alpha is None:
        weight = np.full((1, 1), round(opacity * OPAQUE), np.uint16)
        return [Part(Rect(0, 0, width, height), None if opacity >= 1 else Alpha(weight, weight))]
    if opacity < 1:
        alpha = Alpha(*(np.rint(weights * opacity).astype(np.uint16) for weights in alpha))
    # The colour of four samples is seen where one of them is.
    rows, columns = np.flatnonzero(alpha.colour.any(axis=1)), np.flatnonzero(alpha.colour.any(axis=0))
    if not len(rows):
        return []
    rect = Rect(2 * int(columns[0]), 2 * int(rows[0]), 2 * int(columns[-1]) + 2, 2 * int(rows[-1]) + 2)
    return [Part(rect, alpha.cut(rect))]


def _yuv(rgb: _Shares, hd: bool) -> list[_Shares]:
    """Of 0 to 255, in limited range, not rounded."""
    share_of_red, share_of_blue = _RED_BLUE[hd]
    red, green, blue = rgb[..., 0] / 255, rgb[..., 1] / 255, rgb[..., 2] / 255
    luma = share_of_red * red + (1 - share_of_red - share_of_blue) * green + share_of_blue * blue
    return [
        _BLACK + _LUMA_STEPS * luma,
        _GREY + _COLOUR_STEPS * (blue - luma) / (2 * (1 - share_of_blue)),
        _GREY + _COLOUR_STEPS * (red - luma) / (2 * (1 - share_of_red)),
    ]


def _of_four(plane: _Shares) -> _Shares:
    height, width = plane.shape
    mean: _Shares = plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return mean
