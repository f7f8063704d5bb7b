"""The encoder of SOPHON's SAIL on a mesh: programs written for it run after changing their import.

    import shared.clients.sail as sail

    encoder = sail.Encoder("out.mp4", sail.Handle(0), "h264_bm", "I420", "width=1280:height=720:bitrate=2000")
    decoder = sail.Decoder("in.mp4", False, 0)
    while (picture := decoder.read(sail.Handle(0))).width():
        while encoder.video_write(picture) == -1:  # its queue is full
            time.sleep(0.01)
    encoder.release()

`FRAMEMESH_NATS_URL`, `_NODE` and `_SHM_DIR` say where the mesh is, as for the services. Pictures are encoded by
hw-encode of this host, with what works there; the names of formats and parameters mean the same. An encoder raises
nothing: what fails is told in the log `framemesh.sail`, by `is_opened` and by `video_write`.
"""

from shared.clients.sail.decoder import Decoder
from shared.clients.sail.encoder import Encoder
from shared.clients.sail.enums import Format, ImgDtype
from shared.clients.sail.handle import Handle
from shared.clients.sail.image import BMImage, bm_image

__all__ = ["BMImage", "Decoder", "Encoder", "Format", "Handle", "ImgDtype", "bm_image"]
