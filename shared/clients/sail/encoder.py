"""Pictures to image files, and videos to files and network streams."""

import contextlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import MeshError
from shared.clients.sail.connection import before_close, check_process
from shared.clients.sail.conversion import for_ring
from shared.clients.sail.handle import Handle
from shared.clients.sail.image import Picture, frame_of
from shared.clients.sail.intake import AbortPolicy, Result
from shared.clients.sail.leftovers import sweep_leftovers
from shared.clients.sail.log import log
from shared.clients.sail.request import EncoderRequest, read_request
from shared.clients.sail.still import encode_still
from shared.clients.sail.work import EncoderWork

DEFAULT_QUEUE: Final = 5


class Encoder:
    """Without arguments for pictures; with them for video.

    A video's pictures go through the mesh: a stream `sail-<node>-<pid>-<n>` with one rendition, for as long as the
    encoder lives. A file is written on this host, by this process; anything else is pushed by the publisher.
    """

    def __init__(
        self,
        output_path: str | None = None,
        handle: "Handle | int" = 0,
        enc_fmt: str = "h264_bm",
        pix_fmt: str = "I420",
        enc_params: str = "",
        cache_buffer_length: int = DEFAULT_QUEUE,
        abort_policy: int = 0,
        *,
        device_id: int | None = None,
    ) -> None:
        """Open it; what fails is told in the log, and by `is_opened`.

        Args:
            output_path: a file (mp4, mov, ts, mkv, flv, h264, h265), or a URL that the publisher pushes to.
            handle: or the number of a device, which may be given as `device_id` as well.
            enc_fmt: h264_bm, h265_bm or hevc_bm.
            pix_fmt: I420, pictures of any size are scaled; NV12, they have the encoder's size.
            enc_params: see `schemas.encoder_parameters`; width and height must be there.
            cache_buffer_length: pictures that may wait.
            abort_policy: when they do: 0 refuse, 1 drop the oldest, 2 drop all that wait, 3 wait up to 60 s.
        """
        self._work: EncoderWork | None = None
        self._request: EncoderRequest | None = None
        self._policy = abort_policy
        self._told = ""
        self._for_stills = output_path is None
        if output_path is None:
            return
        device = handle if device_id is None else device_id
        try:
            request = read_request(output_path, device, enc_fmt, pix_fmt, enc_params, cache_buffer_length)
            sweep_leftovers()
            work = EncoderWork(request, abort_policy)
            work.open()
        except MeshError as error:
            log.error("Encoder: %s", error.message)
            return
        self._request, self._work = request, work
        _open.difference_update([one for one in tuple(_open) if one.ended])  # those that nobody could wait for
        _open.add(work)

    def is_opened(self) -> bool:
        """It takes pictures, and what it took comes into the file. True of one without arguments."""
        return self._work.works if self._work is not None else self._for_stills

    def pic_encode(self, ext: str, image: Picture) -> NDArray[np.uint8]:
        """The picture as an image file: `.jpg`, `.png`, `.bmp` or `.webp`. Empty when it fails, which the log tells."""
        try:
            return encode_still(ext, frame_of(image))
        except MeshError as error:
            log.error("pic_encode: %s", error.message)
            return np.empty(0, np.uint8)

    def video_write(self, image: Picture) -> int:
        """Queue a picture; what it is made of may change as soon as this returns.

        Returns:
            0: taken, and it comes into the file. -1: the queue is full. -2: a picture of the queue was not encoded, or
            this one cannot be. -3: encoded, and the file or the destination did not take it. -4: no such policy.
            With all but 0 this picture was not taken; -2 and -3 are told once for each failure.
        """
        if not isinstance(self._policy, int | np.integer) or self._policy not in tuple(AbortPolicy):
            self._tell(f"video_write: abort_policy {self._policy!r}: use 0 to 3")
            return Result.UNKNOWN_POLICY.value
        if self._work is None or self._request is None:
            self._tell("video_write: the encoder is not open")
            return Result.NOT_ENCODED.value
        try:
            check_process()
            picture = for_ring(frame_of(image), self._request)
        except MeshError as error:
            self._tell(f"video_write: {error.message}")
            return Result.NOT_ENCODED.value
        return self._work.put(picture).value

    def _tell(self, what: str) -> None:
        if what != self._told:  # a program that does not look writes on, 25 times a second
            self._told = what
            log.error("%s", what)

    def release(self) -> None:
        """Bring every picture that was taken to its place, close the file, take the stream out of the mesh.

        May be called again; called at exit as well.
        """
        work = self._work
        if work is not None:
            work.release()
            if work.ended:
                _open.discard(work)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never made
            self.release()


_open: set[EncoderWork] = set()
"""Those that the end of the program waits for."""


def _release_all() -> None:
    for work in tuple(_open):
        work.release()


before_close(_release_all)
