"""The launcher: one command starts the bus and every service on this machine, and looks after them.

In containers compose does this job. Read `up.py` first, then `child.py` (a process's life), `forked.py` (how a
service starts) and `bundled_nats.py`.
"""
