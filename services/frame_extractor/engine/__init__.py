"""Takes pictures out of videos: exactly those that are shown at the moments asked for, decoding as little as it can."""

from services.frame_extractor.engine.errors import ExcerptError, VideoError
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.take import OnPicture, Taken, take

__all__ = ["ExcerptError", "Limits", "OnPicture", "OpenVideo", "Taken", "VideoError", "take"]
