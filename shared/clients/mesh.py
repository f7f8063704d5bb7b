"""The mesh for applications: take pictures, give pictures, give commands. Import everything from here.

A machine-vision consumer in fifteen lines; its verdict is a picture stream that can be watched, recorded, mixed:

    import cv2
    from shared.clients.mesh import Mesh

    with Mesh.connect() as mesh:  # FRAMEMESH_NATS_URL, _NODE and _SHM_DIR say where, as for the services
        mesh.start_stream("cam0", "rtsp://camera.local/stream1")
        frames = mesh.frames("cam0", timeout_seconds=10)  # always the newest picture, in shared memory
        first = next(frames).ref
        with mesh.publish("verdict", width=first.width, height=first.height, fps=30) as verdict:
            for frame in frames:
                grey = cv2.cvtColor(picture := frame.bgr(), cv2.COLOR_BGR2GRAY)
                found, _ = cv2.findContours(cv2.Canny(grey, 80, 160), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
                cv2.drawContours(picture, found, -1, (0, 0, 255), 2)
                verdict.write(picture, captured_ns=frame.ref.captured_ns)  # one picture keeps one capture time

`AsyncMesh` is the same for asyncio (`async with`, `async for`, `await`). Who wants every picture rather than the
newest publishes with `delivery="lossless"` and names its `consumer`.
"""

from schemas.errors import BadRequest, Conflict, InternalError, InvalidValue, MeshError, NotFound, TooMany, Unavailable
from schemas.frames import FrameRef
from shared.clients.async_mesh import DEFAULT_CONSUMER, AsyncMesh
from shared.clients.errors import NoFrames, NoSuchStream, OtherNode, PicturesHeld
from shared.clients.events import EventStream, NoEvents
from shared.clients.frame import Frame
from shared.clients.frames import FrameCounts, FrameStream
from shared.clients.packets import NoPackets, Packet, PacketCounts, PacketStream
from shared.clients.publishing import PublishCounts, PublishedStream
from shared.clients.sync_mesh import BlockingStream, BlockingTransform, Mesh
from shared.clients.transforming import Transform, TransformCounts
from shared.ring import NotConsumed, Superseded

__all__ = [
    "DEFAULT_CONSUMER",
    "AsyncMesh",
    "BadRequest",
    "BlockingStream",
    "BlockingTransform",
    "Conflict",
    "EventStream",
    "Frame",
    "FrameCounts",
    "FrameRef",
    "FrameStream",
    "InternalError",
    "InvalidValue",
    "Mesh",
    "MeshError",
    "NoEvents",
    "NoFrames",
    "NoPackets",
    "NoSuchStream",
    "NotConsumed",
    "NotFound",
    "OtherNode",
    "Packet",
    "PacketCounts",
    "PacketStream",
    "PicturesHeld",
    "PublishCounts",
    "PublishedStream",
    "Superseded",
    "TooMany",
    "Transform",
    "TransformCounts",
    "Unavailable",
]
