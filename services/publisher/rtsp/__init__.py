"""The RTSP server: players, recorders and NVRs pull `rtsp://host:8554/<stream>[/<rendition>]` (RFC 2326).

Why our own: there is no maintained RTSP server library for Python that takes packets that are encoded already. The
asyncio packages are clients, or play files. GStreamer's server can, through PyGObject, but is a system library (LGPL)
with a pipeline, threads and a main loop of its own for each rendition, packetises in each of them, and gives us
neither our demand, our bounds nor our key picture rules. What is left is a text protocol of nine methods and RTP,
which `shared.rtp` has: each access unit is packetised and numbered once, so that a client costs one send per picture.
"""
