"""The kinds of image files that the mesh makes."""

from typing import Literal

StillFormat = Literal["jpg", "png", "webp"]
