"""A rendition's packets to every viewer of it."""
