"""Pictures out of a driver's bytes: padded rows, planes, bits."""

import numpy as np
import pytest

from services.capture.v4l2.formats import FORMATS, SensorFormat

WIDTH, HEIGHT = 6, 4


def _padded(form: SensorFormat, padding: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Random planes: their bytes packed, and as a driver lays them out with wider rows; bytes of its first row."""
    rng = np.random.default_rng(1)
    bytes_per_line = form.row_bytes(WIDTH) + padding
    packed, laid_out = [], []
    for ratio, vertical in form.planes:
        row_bytes = int(ratio * WIDTH)
        stride = bytes_per_line * row_bytes // form.row_bytes(WIDTH)
        plane = rng.integers(0, 255, (HEIGHT // vertical, stride), np.uint8)
        laid_out.append(plane.ravel())
        packed.append(plane[:, :row_bytes].ravel())
    return np.concatenate(packed), np.concatenate([*laid_out, np.zeros(9, np.uint8)]), bytes_per_line


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if not form.compressed])
@pytest.mark.parametrize("padding", [0, 12])
def test_packed(name: str, padding: int) -> None:
    form = FORMATS[name]
    packed, data, bytes_per_line = _padded(form, padding)
    assert form.picture_bytes(WIDTH, HEIGHT, bytes_per_line) == len(data) - 9
    np.testing.assert_array_equal(form.packed(data, WIDTH, HEIGHT, bytes_per_line), packed)
    # In place where nothing is in the way.
    assert np.shares_memory(form.packed(data, WIDTH, HEIGHT, bytes_per_line), data) == (padding == 0)


@pytest.mark.parametrize(("name", "full"), [("Y10", 1023), ("Y12", 4095), ("Y14", 65532), ("Y16", 65535),
                                            ("RG10", 65472), ("BG12", 65520), ("BYR2", 65535)])  # fmt: skip
def test_deep_samples(name: str, full: int) -> None:
    """Formats that the mesh calls 16 bit reach its full scale; the others stay in the low bits."""
    form = FORMATS[name]
    samples = np.array([[0, 1, 7777], [2, (1 << form.bits) - 1, 7777]], "<u2")  # rows with padding
    image = form.as_image(samples.view(np.uint8).ravel(), 2, 2, 6)
    assert image.shape == (2, 2)
    assert image.dtype == np.uint16
    assert image[1, 1] == full
    assert image[0, 1] == 1 << form.shift
    assert np.shares_memory(image, samples) == (form.shift == 0)


def test_luma_is_what_lies_in_the_first_plane() -> None:
    deep = np.zeros((2, 4), "<u2")  # two pixels a row, and two of padding
    deep[:, :2] = [[0, 1023], [512, 4]]
    luma = FORMATS["Y10"].luma(deep.reshape(-1).view(np.uint8), 2, 2, 8)
    np.testing.assert_array_equal(luma, [[0, 255], [128, 1]])
    planes = np.arange(12, dtype=np.uint8)
    np.testing.assert_array_equal(FORMATS["NV12"].luma(planes, 4, 2, 4), planes[:8].reshape(2, 4))
    np.testing.assert_array_equal(FORMATS["YUYV"].luma(planes, 2, 2, 6), [[0, 1, 2, 3], [6, 7, 8, 9]])
