"""Industrial cameras: GigE Vision and USB3 Vision, described by GenICam.

`camera.py` says what a camera is; `aravis_camera.py` and `harvesters_camera.py` are the two ways to one, `backends.py`
chooses. `configuration.py` brings a spec into a camera, `region.py` what of its sensor is used; `delivery.py` brings
its pictures to the stream, `pixel_formats.py` says what becomes of them.
"""
