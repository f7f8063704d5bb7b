"""The parts of a remote video that few pictures need, made into a short video of their own."""

from services.frame_extractor.excerpts.excerpt import make_excerpt
from services.frame_extractor.excerpts.source import Map, Source

__all__ = ["Map", "Source", "make_excerpt"]
