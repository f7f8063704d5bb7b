"""capture: a live source becomes a stream: frames in a ring, sound on the bus, its own packets as rendition `source`.

Read in this order: `service.py` (commands), `stream.py` (one stream's life), `sink.py` (where pictures, sound and
packets go), `sources/` (one file per kind; the registry is in `sources/__init__.py`).
"""
