"""Pictures of live streams: at a moment, and on a schedule."""
