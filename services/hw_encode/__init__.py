"""hw-encode: frames of a stream become the packets of a rendition, on the best encoder that works here.

Read in this order: `service.py` (commands), `rendition.py` (one rendition's life), `pipeline.py` (what exists only
while it is encoded), `video.py` and `audio.py` (the media threads), `pictures.py` (sizes, and conversions that
renditions share), `encoders.py` (which encoder works here), `kinds.py` (which there are: add one there, one entry in
one table).
"""
