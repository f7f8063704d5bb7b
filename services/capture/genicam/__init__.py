"""Industrial cameras: GigE Vision and USB3 Vision, described by GenICam.

`camera.py` says what a camera is; `aravis_camera.py` and `harvesters_camera.py` are the two ways to one, `backends.py`
chooses. `configuration.py` brings a spec into a camera, `pixel_formats.py` its pictures into ours.
"""
