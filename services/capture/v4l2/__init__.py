"""Video4Linux as it is needed to capture: no library does it all, so the kernel's own interface is spoken.

Read in this order: `abi.py` and `control_abi.py` (the kernel's structures and numbers), `device.py` (an open camera),
`nodes.py` (which camera is where), `formats.py` (pixel formats), `modes.py` (what the camera offers, and the choice
among it), `control.py` and `controls.py`, `buffers.py` (the driver's), `pictures.py` (to the sink).
"""
