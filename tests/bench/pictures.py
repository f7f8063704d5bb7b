"""Pictures of decoded frames as files and arrays, beside libav's mjpeg and Pillow, in one interleaved run.

`python -m tests.bench.pictures` prints milliseconds of CPU a picture and writes results/pictures.json; with `--quick`
it is shorter and writes nothing. One thread; a real picture, scaled to 1080p and 4K.
"""

import io
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from schemas.sampling import PictureOptions
from services.frame_extractor.pictures import make_picture, picture_array
from tests.bench.dated import keep
from tests.support.mesh import bunny

RESULTS = Path(__file__).parent / "results" / "pictures.json"
SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160)}
ROUNDS, QUICK_ROUNDS = 3, 1
PICTURES = 3  # a round and way
QUALITY = 85
_MJPEG_QSCALE = 3  # about as large as libjpeg's 85
_BT709, _PQ, _BT2020 = 1, 16, 9


def ways(frame: av.VideoFrame) -> dict[str, Callable[[], object]]:
    """`frame`: yuv420p, BT.709, limited range."""
    deep = frame.reformat(format="yuv420p10le")
    hdr = frame.reformat(format="yuv420p10le")
    hdr.colorspace, hdr.color_trc, hdr.color_primaries = _BT2020, _PQ, _BT2020
    reformatter = VideoReformatter()
    return {
        "jpg": lambda: make_picture(frame, PictureOptions(quality=QUALITY)),
        "jpg, libav's mjpeg": lambda: mjpeg(frame, reformatter),
        "jpg, Pillow": lambda: by_pillow(frame, "JPEG", quality=QUALITY),
        "jpg of 720p": lambda: make_picture(frame, PictureOptions(quality=QUALITY, short_side=720)),
        "jpg of 10 bits": lambda: make_picture(deep, PictureOptions(quality=QUALITY)),
        "jpg of HDR": lambda: make_picture(hdr, PictureOptions(quality=QUALITY)),
        "array": lambda: picture_array(frame, PictureOptions()),
        "png": lambda: make_picture(frame, PictureOptions(format="png")),
        "png, Pillow": lambda: by_pillow(frame, "PNG", compress_level=1),
        "webp": lambda: make_picture(frame, PictureOptions(format="webp", quality=QUALITY)),
        "webp, Pillow": lambda: by_pillow(frame, "WEBP", quality=QUALITY, method=2),
    }


def mjpeg(frame: av.VideoFrame, reformatter: VideoReformatter) -> int:
    planes = reformatter.reformat(
        frame,
        format="yuvj420p",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )
    context = av.CodecContext.create("mjpeg", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = planes.width, planes.height, "yuvj420p"
    context.time_base, context.thread_count = Fraction(1, 25), 1
    context.qmin = context.qmax = _MJPEG_QSCALE
    planes.pts = 0
    return sum(packet.size for packet in (*context.encode(planes), *context.encode(None)))


def by_pillow(frame: av.VideoFrame, file_format: str, **options: int) -> int:
    file = io.BytesIO()
    frame.to_image().save(file, file_format, **options)
    return file.tell()


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds by size and way: the best round of each."""
    with av.open(str(bunny())) as container:
        real = next(container.decode(video=0))
    found: dict[str, dict[str, float]] = {}
    for name, (width, height) in SIZES.items():
        frame = real.reformat(width=width, height=height, format="yuv420p", interpolation="BICUBIC")
        frame.colorspace, frame.color_range = _BT709, ColorRange.MPEG
        best = found[name] = {}
        for _ in range(rounds):
            for way, make in ways(frame).items():
                make()  # what is prepared once is no part of it
                began = time.process_time()
                for _ in range(PICTURES):
                    make()
                took_ms = (time.process_time() - began) / PICTURES * 1000
                best[way] = round(min(best.get(way, took_ms), took_ms), 2)
    return found


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    found = measure(QUICK_ROUNDS if quick else ROUNDS)
    print(f"{'CPU ms a picture':24}" + "".join(f"{name:>10}" for name in found))
    for way in next(iter(found.values())):
        print(f"{way:24}" + "".join(f"{times[way]:10.1f}" for times in found.values()))
    if not quick:
        keep(RESULTS, found)


if __name__ == "__main__":
    main()
