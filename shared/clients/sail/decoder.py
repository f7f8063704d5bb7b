"""Pictures out of files and network streams, one after the other."""

import contextlib
from collections.abc import Iterator

import av
from av.video.frame import VideoFrame

from shared.clients.sail.handle import Handle, device_of
from shared.clients.sail.image import BMImage
from shared.clients.sail.log import log


class Decoder:
    """Reads the pictures of a video or of an image file. For one thread at a time."""

    def __init__(self, file_path: str, compressed: bool = True, dev_id: int = 0) -> None:
        """Open the file; what fails is told in the log, and by `is_opened`.

        Args:
            compressed: whether a device may keep its pictures compressed; there is no such memory here.
        """
        self._dev_id = device_of(dev_id)
        self._path = str(file_path)
        self._container: av.container.InputContainer | None = None
        self._pictures: Iterator[VideoFrame] = iter(())
        self._size = (0, 0)
        self._fps = 0.0
        try:
            container = av.open(self._path, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            log.error("Decoder: %s: %s", self._path, error)
            return
        if not container.streams.video:
            log.error("Decoder: %s: no pictures in it", self._path)
            container.close()
            return
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        self._size = (stream.codec_context.width, stream.codec_context.height)
        self._fps = float(stream.average_rate or 0)
        self._container, self._pictures = container, container.decode(stream)

    def is_opened(self) -> bool:
        return self._container is not None

    def read(self, handle: "Handle | int", image: BMImage | None = None) -> "BMImage | int":
        """The next picture; after the last one, and when the file cannot be read, an empty one of width 0.

        Args:
            image: put it in there instead; returns 0, and -1 when there is none.
        """
        found = self._next()
        if image is None:
            return found
        if not found.width():
            return -1
        image._image = found._image
        return 0

    def _next(self) -> BMImage:
        try:
            frame = next(self._pictures, None)
        except (av.FFmpegError, OSError) as error:
            log.error("Decoder: %s: %s", self._path, error)
            frame = None
        return BMImage(self._dev_id) if frame is None else BMImage.of(frame, self._dev_id)

    def get_frame_shape(self) -> list[int]:
        """One picture, 3 colours, height, width: [1, 3, 1080, 1920]."""
        width, height = self._size
        return [1, 3, height, width]

    def get_fps(self) -> float:
        """Pictures per second as the file tells; 0 when it does not."""
        return self._fps

    def release(self) -> None:
        """Close the file; may be called again."""
        container, self._container = self._container, None
        self._pictures = iter(())
        if container is not None:
            container.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never made
            self.release()
