"""Which encoders work here: `python -m services.hw_encode.probe` tries those of each codec, for `framemesh doctor`.

Prints a line of JSON for each as soon as it is known: a driver that hangs hides none of those before it.
"""

from typing import get_args

import av
import msgspec
from msgspec import Struct

from schemas.errors import MeshError
from schemas.packets import VideoCodec
from schemas.resources import RenditionSpec
from services.hw_encode.codecs import Codecs
from services.hw_encode.encoders import first_working

_WIDTH, _HEIGHT = 1280, 720
_CODECS: tuple[VideoCodec, ...] = get_args(VideoCodec)


class Tried(Struct, frozen=True, kw_only=True):
    """What came of one codec, or the library's version."""

    check: str
    ok: bool
    found: str


def main() -> None:
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    _tell(Tried(check="libav", ok=True, found=f"libavcodec {version} of PyAV {av.__version__}"))
    codecs = Codecs("hardware")
    try:
        for codec in _CODECS:
            try:
                choice = first_working(RenditionSpec(stream="probe", codec=codec), _WIDTH, _HEIGHT, codecs)
                _tell(Tried(check=codec, ok=True, found=choice.reason))
            except MeshError as error:
                _tell(Tried(check=codec, ok=False, found=error.message))
    finally:
        codecs.close()


def _tell(tried: Tried) -> None:
    print(msgspec.json.encode(tried).decode(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
