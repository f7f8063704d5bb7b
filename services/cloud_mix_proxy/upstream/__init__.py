"""Tasks that a cloud mixes, by the same API."""
