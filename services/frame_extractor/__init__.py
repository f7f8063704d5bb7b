"""frame-extractor: pictures out of videos and live streams."""
