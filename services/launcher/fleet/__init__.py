"""What runs on a node, and how many: seen and changed in the same way whether processes or containers do the work.

`interface.py` says what a back end can do, `processes.py` and `containers.py` do it, `service.py` gives it to the bus.
"""
