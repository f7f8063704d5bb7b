"""Put this folder on PYTHONPATH, and hw-encode has a first encoder that fails at its thirtieth picture.

A test-only backend: libx264 under another name, called hardware, beside the product's own table.
"""

import sys
from typing import Any

_PICTURES = 30

# The fork server makes hw-encode, and that makes the other.
if {"services.launcher.fork_server", "services.hw_encode.encoder_process"} & set(sys.orig_argv):
    from shared.quick_start import quick_start

    with quick_start():  # without the threads that numpy would begin
        import av

        from services.hw_encode import encoders, kinds, libav_codec
        from services.hw_encode.kinds import ENCODERS, EncoderKind

    class _Fails:
        def __init__(self, inner: Any) -> None:
            self._inner, self._left = inner, _PICTURES

        def encode(self, picture: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise av.error.ExternalError(0x20545845, "device lost")
            return self._inner.encode(picture)

    _faulty = EncoderKind("libx264_faulty", "h264", hardware=True)
    _software = next(kind for kind in ENCODERS if kind.name == "libx264")
    _open = libav_codec.open_encoder

    def _open_any(kind: EncoderKind, *arguments: Any) -> Any:
        return _Fails(_open(_software, *arguments)) if kind is _faulty else _open(kind, *arguments)

    encoders.ENCODERS = kinds.ENCODERS = (_faulty, _software)
    libav_codec.open_encoder = _open_any
