"""The picture of `test://`: colour bars, a ball that never stops, a frame counter and a clock.

Everything that stands still is drawn once; a frame costs one copy and a few small patches. Deterministic: the
same (sequence, time) gives the same bytes, so tests can compare them.
"""

import numpy as np
import numpy.typing as npt

from schemas.colours import ColourSpace
from schemas.errors import InvalidValue
from shared.media import glyphs, timecode

Picture = npt.NDArray[np.uint8]

COLOUR_SPACE = ColourSpace(matrix="bt709", range="limited", primaries="bt709", transfer="bt709")
"""Of the pictures, in every size."""
MIN_WIDTH, MIN_HEIGHT = timecode.WIDTH_PIXELS, timecode.HEIGHT_PIXELS
_NS_PER_MS = 1_000_000
_MS_PER_DAY = 86_400_000
_LUMA_BLACK, _LUMA_WHITE = 16, 235
_NEUTRAL = 128

# 75 % bars of BT.709 in limited range: white, yellow, cyan, green, magenta, red, blue (Y, U, V).
_BARS = (
    (180, 128, 128),
    (168, 44, 136),
    (145, 147, 44),
    (133, 63, 52),
    (63, 193, 204),
    (51, 109, 212),
    (28, 212, 120),
)
_BARS_SHARE = 0.66  # of the height; under them a grey ramp and the panel with the text
_RAMP_SHARE = 0.09
_BALL_SHARE = 1 / 16  # radius over height
_BALL = (220, 100, 150)  # warm white
_CROSSING_FRAMES_X, _CROSSING_FRAMES_Y = 97, 61  # without a common divisor, so the path is long
_TEXT = "#{sequence:08d}  {hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
_TEXT_CHARACTERS = 23
_TEXT_SHARE = 0.7  # of the width
_SMALLEST_TEXT_HEIGHT = 128  # below there is no room under the time code


class Pattern:
    """Draws the test pattern of one size into yuv420p pictures.

    Raises:
        InvalidValue: the size is odd or under 384 x 32, the area of the time code.
    """

    def __init__(self, width: int, height: int) -> None:
        if width < MIN_WIDTH or height < MIN_HEIGHT or width % 2 or height % 2:
            raise InvalidValue("size", f"{width}x{height}", f"give an even size of at least {MIN_WIDTH}x{MIN_HEIGHT}")
        self.width, self.height = width, height
        self._base = np.empty((height * 3 // 2, width), np.uint8)
        # Under the time code where there is room, so that the ball never covers it.
        self._top = MIN_HEIGHT if height >= 2 * MIN_HEIGHT else 0
        radius = max(4, int(height * _BALL_SHARE))
        self._diameter = 2 * radius
        self._luma_weight = _disc(self._diameter)
        self._chroma_weight = self._luma_weight.reshape(radius, 2, radius, 2).mean(axis=(1, 3)).astype(np.uint16)
        self._text_scale = int(width * _TEXT_SHARE) // (_TEXT_CHARACTERS * glyphs.WIDTH)
        self._draw_base()

    def draw(self, picture: Picture, sequence: int, now_ns: int) -> None:
        """Write every pixel of `picture`, (height * 3 // 2, width) yuv420p and contiguous.

        Args:
            picture: any memory, for example a fresh slot of a ring.
            sequence: the number that is shown and that moves the ball.
            now_ns: CLOCK_REALTIME, shown as the time of day in UTC.
        """
        np.copyto(picture, self._base)
        luma, chroma = _planes(picture, self.width, self.height)
        # Even positions, so that luma and chroma move together.
        x = _bounce(sequence, _CROSSING_FRAMES_X, self.width - self._diameter)
        y = self._top + _bounce(sequence, _CROSSING_FRAMES_Y, self.height - self._top - self._diameter)
        _blend(luma[y : y + self._diameter, x : x + self._diameter], _BALL[0], self._luma_weight)
        half_x, half_y, half = x // 2, y // 2, self._diameter // 2
        for plane, value in zip(chroma, _BALL[1:], strict=True):
            _blend(plane[half_y : half_y + half, half_x : half_x + half], value, self._chroma_weight)
        if self.height >= _SMALLEST_TEXT_HEIGHT:
            self._draw_text(luma, sequence, now_ns)

    def _draw_text(self, luma: Picture, sequence: int, now_ns: int) -> None:
        milliseconds = now_ns // _NS_PER_MS % _MS_PER_DAY
        minutes, milliseconds = divmod(milliseconds, 60_000)
        text = _TEXT.format(
            sequence=sequence % 100_000_000,
            hours=minutes // 60,
            minutes=minutes % 60,
            seconds=milliseconds // 1_000,
            milliseconds=milliseconds % 1_000,
        )
        block = glyphs.render(text, self._text_scale, _LUMA_BLACK, _LUMA_WHITE)
        panel = int(self.height * (_BARS_SHARE + _RAMP_SHARE))
        y = panel + (self.height - panel - block.shape[0]) // 2
        x = (self.width - block.shape[1]) // 2
        # Brighter of both: the ball passes behind the text.
        area = luma[y : y + block.shape[0], x : x + block.shape[1]]
        np.maximum(area, block, out=area)

    def _draw_base(self) -> None:
        luma, chroma = _planes(self._base, self.width, self.height)
        columns = np.arange(self.width) * len(_BARS) // self.width
        bars = np.array(_BARS, np.uint8)
        luma[:] = bars[columns, 0]
        chroma[0][:] = bars[columns[::2], 1]
        chroma[1][:] = bars[columns[::2], 2]
        ramp = int(self.height * _BARS_SHARE) // 2 * 2
        panel = int(self.height * (_BARS_SHARE + _RAMP_SHARE)) // 2 * 2
        luma[ramp:panel] = np.linspace(_LUMA_BLACK, _LUMA_WHITE, self.width).astype(np.uint8)
        luma[panel:] = _LUMA_BLACK
        for plane in chroma:
            plane[ramp // 2 :] = _NEUTRAL


def _planes(picture: Picture, width: int, height: int) -> tuple[Picture, Picture]:
    """Luma (height, width) and chroma (2, height // 2, width // 2) as views."""
    flat = picture.reshape(-1)
    return picture[:height], flat[height * width :].reshape(2, height // 2, width // 2)


def _disc(diameter: int) -> npt.NDArray[np.uint16]:
    """Weights 0-256 of a disc with a soft edge, (diameter, diameter)."""
    axis = np.arange(diameter) - (diameter - 1) / 2
    distance = np.hypot(axis[:, np.newaxis], axis)
    return np.asarray(np.clip(diameter / 2 - distance, 0, 1) * 256).astype(np.uint16)


def _blend(area: Picture, value: int, weight: npt.NDArray[np.uint16]) -> None:
    # 255 * 256 fits 16 bits just so.
    area[:] = (area * (256 - weight) + value * weight) >> 8


def _bounce(sequence: int, crossing_frames: int, span: int) -> int:
    """An even position between 0 and `span` that goes to and fro."""
    step = sequence % (2 * crossing_frames)
    return span * min(step, 2 * crossing_frames - step) // crossing_frames // 2 * 2
