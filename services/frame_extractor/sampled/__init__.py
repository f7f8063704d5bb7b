"""Rows of pictures: what a sampler makes of one video of a column."""

from services.frame_extractor.sampled.arguments import Arguments
from services.frame_extractor.sampled.destination import Destination
from services.frame_extractor.sampled.row import SampledRow, rows_to_arrow
from services.frame_extractor.sampled.video import Wanted, sample_video

__all__ = ["Arguments", "Destination", "SampledRow", "Wanted", "rows_to_arrow", "sample_video"]
