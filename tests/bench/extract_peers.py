"""One way to take a picture of every so many seconds of a video and write it as a JPEG, quality 85, into a folder.

`python -m tests.bench.extract_peers <way> <video> <seconds between pictures> <workers> <folder>`; prints their number.
"""

import subprocess
import sys
from pathlib import Path

QUALITY = 85
# Of mjpeg in libav, the scale that comes nearest to libjpeg's 85.
_FFMPEG_QUALITY = 3


def framemesh(video: Path, step_s: float, workers: int, folder: Path) -> None:
    from schemas.sampling import PictureOptions, Sampling
    from services.frame_extractor.engine import OpenVideo, Taken, take
    from services.frame_extractor.pictures import make_picture

    options = PictureOptions(quality=QUALITY)

    def on_picture(taken: Taken) -> None:
        picture = make_picture(taken.frame, options)
        (folder / f"{taken.number:05d}.jpg").write_bytes(picture.data)

    take(OpenVideo.of_path(video), Sampling(fps=1 / step_s), on_picture, threads=workers)


def ffmpeg_fps(video: Path, step_s: float, workers: int, folder: Path) -> None:
    _ffmpeg(video, workers, folder, f"fps={1 / step_s}:start_time=0")


def ffmpeg_select(video: Path, step_s: float, workers: int, folder: Path) -> None:
    choice = f"select='gt(floor((t+{step_s / 2})/{step_s}),floor((prev_t+{step_s / 2})/{step_s}))'"
    _ffmpeg(video, workers, folder, choice, "-fps_mode", "vfr")


def _ffmpeg(video: Path, workers: int, folder: Path, chosen: str, *more: str) -> None:
    quality = ("-q:v", str(_FFMPEG_QUALITY))
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", str(workers), "-i", str(video), "-an", "-vf", chosen]
    subprocess.run([*command, *more, *quality, str(folder / "%05d.jpg")], check=True)


def opencv(video: Path, step_s: float, workers: int, folder: Path) -> None:
    import cv2

    cv2.setNumThreads(workers)
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, workers])
    rate = capture.get(cv2.CAP_PROP_FPS)
    frame = number = 0
    while capture.grab():
        if frame == round((number + 0.5) * step_s * rate):
            _, picture = capture.retrieve()
            cv2.imwrite(str(folder / f"{number:05d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            number += 1
        frame += 1


def decord(video: Path, step_s: float, workers: int, folder: Path) -> None:
    import decord  # type: ignore[import-not-found, unused-ignore]
    import simplejpeg

    reader = decord.VideoReader(str(video), num_threads=workers)
    rate = reader.get_avg_fps()
    number = 0
    while (frame := round((number + 0.5) * step_s * rate)) < len(reader):
        data = simplejpeg.encode_jpeg(reader[frame].asnumpy(), QUALITY, "RGB", "420")
        (folder / f"{number:05d}.jpg").write_bytes(data)
        number += 1


def torchcodec(video: Path, step_s: float, workers: int, folder: Path) -> None:
    import simplejpeg
    from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found, unused-ignore]

    decoder = VideoDecoder(str(video), dimension_order="NHWC", num_ffmpeg_threads=workers, seek_mode="approximate")
    number = 0
    while (at := (number + 0.5) * step_s) < decoder.metadata.duration_seconds:
        picture = decoder.get_frame_played_at(at).data.numpy()
        (folder / f"{number:05d}.jpg").write_bytes(simplejpeg.encode_jpeg(picture, QUALITY, "RGB", "420"))
        number += 1


def pyav(video: Path, step_s: float, workers: int, folder: Path) -> None:
    import av
    import simplejpeg

    number = 0
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = workers, "AUTO" if workers > 1 else "NONE"
        for frame in container.decode(stream):
            if (frame.time or 0) >= (number + 0.5) * step_s:
                data = simplejpeg.encode_jpeg(frame.to_ndarray(format="rgb24"), QUALITY, "RGB", "420")
                (folder / f"{number:05d}.jpg").write_bytes(data)
                number += 1


WAYS = {
    "framemesh": framemesh,
    "ffmpeg fps": ffmpeg_fps,
    "ffmpeg select": ffmpeg_select,
    "opencv": opencv,
    "decord": decord,
    "torchcodec": torchcodec,
    "pyav": pyav,
}

if __name__ == "__main__":
    way, video, step_s, workers, folder = sys.argv[1:]
    WAYS[way](Path(video), float(step_s), int(workers), Path(folder))
    print(len(list(Path(folder).iterdir())))
