"""Pictures of decoded video frames: as files or as arrays, upright, progressive, in square pixels and right colours."""

from services.frame_extractor.pictures.picture import Picture, make_picture, picture_array
from services.frame_extractor.pictures.size import picture_size

__all__ = ["Picture", "make_picture", "picture_array", "picture_size"]
