"""How bright each pixel is, of every format, without a copy."""

from pathlib import Path

import numpy as np
import pytest

from schemas.frames import PixelFormat
from shared.clients.frame import Frame
from shared.ring import RingGeometry, RingReader
from tests.support.ring import make_writer, ring_folder

__all__ = ["ring_folder"]
pytestmark = pytest.mark.unit

_WIDTH, _HEIGHT = 64, 48


@pytest.mark.parametrize("pixel_format", ["gray", "gray12le", "yuv420p", "nv12", "bgr24", "rgb24", "bayer_rggb8"])
def test_luma_is_a_view_of_the_picture(ring_folder: Path, pixel_format: PixelFormat) -> None:
    geometry = RingGeometry(pixel_format, _WIDTH, _HEIGHT)
    with make_writer(ring_folder, geometry=geometry) as writer, RingReader(ring_folder) as reader:
        slot = writer.acquire()
        assert slot is not None
        picture = np.random.default_rng(3).integers(0, 250, geometry.array_shape, dtype=geometry.array_dtype)
        slot.array[...] = picture
        ref = slot.commit(pts_ns=1, captured_ns=1, monotonic_ns=1)
        with Frame(ref, reader.lease(ref), lambda: None) as frame:
            luma = frame.luma
            wanted = picture[:, :, 1] if picture.ndim == 3 else picture[:_HEIGHT]
            assert luma.shape == (_HEIGHT, _WIDTH)
            assert np.array_equal(luma, wanted)
            assert np.shares_memory(luma, frame.array)
            assert not luma.flags.writeable
            del luma
