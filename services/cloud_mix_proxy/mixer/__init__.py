"""Making one picture, and one sound, of several."""
