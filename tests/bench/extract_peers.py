"""One way to take the picture of the middle of every so many seconds of a video, and write it as a JPEG of quality 85.

`python -m tests.bench.extract_peers <way> <video> <seconds between pictures> <workers> <folder>`; prints their number.
The video is a file or an address. All ways take the same pictures, each in the best manner that its documents show.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.extract_clips import RATE

QUALITY = 85
# Of mjpeg in libav, the scale that comes nearest to libjpeg's 85.
_FFMPEG_QUALITY = 3


def framemesh(video: str, step_s: float, workers: int, folder: Path) -> None:
    from shared.quick_start import quick_start

    with quick_start():  # as the service's own processes begin
        from schemas.sampling import PictureOptions, Sampling
        from services.frame_extractor.engine import OpenVideo, Taken, take
        from services.frame_extractor.pictures import make_picture
        from shared.netguard import Policy, check

    options = PictureOptions(quality=QUALITY)

    def on_picture(taken: Taken) -> None:
        picture = make_picture(taken.frame, options)
        _file(folder, taken.number).write_bytes(picture.data)

    if video.startswith("http:"):
        opened = OpenVideo.of_url(check(video, Policy(schemes=frozenset(("http",)), allow_private=True)))
    else:
        opened = OpenVideo.of_path(video)
    take(opened, Sampling(fps=1 / step_s), on_picture, threads=workers)


def ffmpeg(video: str, step_s: float, workers: int, folder: Path) -> None:
    every = round(step_s * RATE)
    # As fast as its filter `fps`, which takes neighbours of these pictures.
    choice = ("-vf", f"select='eq(mod(n,{every}),{every // 2})'", "-fps_mode", "vfr")
    read = ("ffmpeg", "-v", "error", "-nostdin", "-threads", str(workers), "-i", video, "-an")
    write = ("-q:v", str(_FFMPEG_QUALITY), "-start_number", "0", folder / "%05d.jpg")
    subprocess.run([*read, *choice, *write], check=True)


def ffmpeg_seek(video: str, step_s: float, workers: int, folder: Path) -> None:
    """A process for every picture."""
    probe = ("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", video)
    duration_s = float(subprocess.run(probe, check=True, capture_output=True, text=True).stdout)
    number = 0
    while (at_s := (number + 0.5) * step_s) < duration_s:
        seek = ("ffmpeg", "-v", "error", "-nostdin", "-threads", str(workers), "-ss", str(at_s), "-i", video)
        write = ("-an", "-frames:v", "1", "-q:v", str(_FFMPEG_QUALITY), _file(folder, number))
        subprocess.run([*seek, *write], check=True)
        number += 1


def opencv(video: str, step_s: float, workers: int, folder: Path) -> None:
    capture = _capture(video, workers)
    chosen = _chosen(step_s, sys.maxsize)
    frame, number, wanted = 0, 0, next(chosen)
    while capture.grab():
        if frame == wanted:
            _write(folder, number, capture.retrieve()[1], "BGR")
            number, wanted = number + 1, next(chosen)
        frame += 1


def opencv_seek(video: str, step_s: float, workers: int, folder: Path) -> None:
    import cv2

    capture = _capture(video, workers)
    for number, frame in enumerate(_chosen(step_s, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))):
        capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
        _write(folder, number, capture.read()[1], "BGR")


def _capture(video: str, workers: int) -> Any:
    import cv2

    cv2.setNumThreads(workers)
    return cv2.VideoCapture(video, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, workers])


def decord(video: str, step_s: float, workers: int, folder: Path) -> None:
    import decord  # type: ignore[import-not-found, unused-ignore]

    reader = decord.VideoReader(video, num_threads=workers)
    for number, frame in enumerate(_chosen(step_s, len(reader))):
        _write(folder, number, reader[frame].asnumpy(), "RGB")


def torchcodec(video: str, step_s: float, workers: int, folder: Path) -> None:
    from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found, unused-ignore]

    decoder = VideoDecoder(video, dimension_order="NHWC", num_ffmpeg_threads=workers, seek_mode="approximate")
    number = 0
    while (at_s := (number + 0.5) * step_s) < decoder.metadata.duration_seconds:
        _write(folder, number, decoder.get_frame_played_at(at_s).data.numpy(), "RGB")
        number += 1


def pyav(video: str, step_s: float, workers: int, folder: Path) -> None:
    import av

    with av.open(video) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = workers, "AUTO" if workers > 1 else "NONE"
        chosen = _chosen(step_s, sys.maxsize)
        number, wanted = 0, next(chosen)
        for place, frame in enumerate(container.decode(stream)):
            if place == wanted:
                _write(folder, number, frame.to_ndarray(format="rgb24"), "RGB")
                number, wanted = number + 1, next(chosen)


def pyav_seek(video: str, step_s: float, workers: int, folder: Path) -> None:
    import av

    with av.open(video) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = workers, "AUTO" if workers > 1 else "NONE"
        assert stream.time_base is not None
        assert stream.start_time is not None
        for number, wanted in enumerate(_chosen(step_s, stream.frames)):
            at = stream.start_time + round(wanted / RATE / stream.time_base)
            container.seek(at, stream=stream)
            frame = next(frame for frame in container.decode(stream) if (frame.pts or 0) >= at)
            _write(folder, number, frame.to_ndarray(format="rgb24"), "RGB")


def _chosen(step_s: float, count: int) -> Iterator[int]:
    """Numbers of the pictures that are shown in the middle of each step."""
    number = 0
    while (frame := int((number + 0.5) * step_s * RATE)) < count:
        yield frame
        number += 1


def _write(folder: Path, number: int, picture: Any, order: str) -> None:
    import simplejpeg

    _file(folder, number).write_bytes(simplejpeg.encode_jpeg(picture, QUALITY, order, "420"))


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.jpg"


DECODING = {
    "framemesh": framemesh,
    "ffmpeg": ffmpeg,
    "opencv": opencv,
    "decord": decord,
    "torchcodec": torchcodec,
    "pyav": pyav,
}
"""For pictures that lie close together."""
SEEKING = {
    "framemesh": framemesh,
    "ffmpeg seek": ffmpeg_seek,
    "opencv seek": opencv_seek,
    "decord": decord,
    "torchcodec": torchcodec,
    "pyav seek": pyav_seek,
}
"""For pictures that lie far apart."""

if __name__ == "__main__":
    way, video, step_s, workers, folder = sys.argv[1:]
    {**DECODING, **SEEKING}[way](video, float(step_s), int(workers), Path(folder))
    print(len(list(Path(folder).iterdir())))
