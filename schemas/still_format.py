"""The kinds of image files that the mesh makes."""

from typing import Final, Literal

StillFormat = Literal["jpg", "png", "webp"]
MEDIA_TYPES: Final[dict[StillFormat, str]] = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
