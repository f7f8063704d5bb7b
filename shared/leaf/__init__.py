"""An edge host and its hub: what keeps the state of both in step, over a link that comes and goes.

Read `keeper.py` first, and `schemas/placements.py` for what lives where.
"""
