"""Pictures of live streams again and again, each to a place of its own."""
