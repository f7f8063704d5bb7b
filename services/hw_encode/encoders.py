"""Which of the encoders in the table works here: found by trying it (`first_working`), not guessed from the machine."""

import contextlib
import ctypes
import glob
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from av.video.frame import PictureType, VideoFrame

from schemas.errors import Unavailable
from schemas.resources import EncoderPolicy, RenditionSpec
from services.hw_encode.codecs import Codecs
from services.hw_encode.kinds import ENCODERS, EncoderKind
from services.hw_encode.libav_codec import TIME_BASE, EncoderFailed

log = logging.getLogger(__name__)

_PROBE_PICTURES = 4  # hardware encoders that hold pictures back must still give one within these


@dataclass(frozen=True)
class Choice:
    """The encoder that was chosen, and what was tried before it."""

    kind: EncoderKind
    reason: str


def candidates(codec: str, policy: EncoderPolicy) -> Iterator[EncoderKind]:
    """The encoders of `codec` that `policy` allows, best first."""
    for kind in ENCODERS:
        allowed = kind.hardware if policy == "require-hw" else not kind.hardware or policy == "prefer-hw"
        if kind.codec == codec and allowed:
            yield kind


# What a try said (empty: it works) and until when that is believed, by encoder, width and height: a try can take a
# second, and a first picture must not wait for what is known.
_tried: dict[tuple[str, int, int], tuple[str, float]] = {}
# By family: the libraries that libav loads for it, and its devices.
_NEEDS: dict[str, tuple[tuple[str, ...], str]] = {
    "nvenc": (("libcuda.so.1", "libnvidia-encode.so.1"), ""),
    "qsv": ((), "/dev/dri/renderD*"),
    "amf": (("libamfrt64.so.1",), ""),
    "v4l2m2m": ((), "/dev/video*"),
}
_FAILURE_BELIEVED_SECONDS = 60.0  # memory or a session of the card may be free again


def first_working(
    spec: RenditionSpec, width: int, height: int, codecs: Codecs, without: Mapping[str, str] | None = None
) -> Choice:
    """The best encoder that works here, by trying each; `without` names those that have failed in use, and how.

    Raises:
        Unavailable: none does; the text says what each one answered.
    """
    said = []
    for kind in candidates(spec.codec, spec.encoder):
        failure = _lacks(kind, spec) or (without or {}).get(kind.name) or _tried_before(kind, width, height, codecs)
        if failure:
            said.append(f"{kind.name}: {failure}")
            continue
        reason = "; ".join([*said, f"{kind.name} works"])
        log.info("encoder %s chosen: %s", kind.name, reason)
        return Choice(kind, reason)
    wish = "hardware " if spec.encoder == "require-hw" else ""
    raise Unavailable(f"no {wish}encoder for {spec.codec} works here: {'; '.join(said)}")


def _lacks(kind: EncoderKind, spec: RenditionSpec) -> str:
    if spec.rate_control not in kind.controls:
        return f"has no {spec.rate_control}"
    return "has no B-frames" if spec.b_frames and not kind.b_frames else ""


def try_encoders(codecs: Codecs) -> None:
    """Try the encoders of a usual rendition once, so that later choices are quick."""
    with contextlib.suppress(Unavailable):
        first_working(RenditionSpec(stream="probe"), 1280, 720, codecs)


def _tried_before(kind: EncoderKind, width: int, height: int, codecs: Codecs) -> str:
    key = (kind.name, width, height)
    failure, believed_until = _tried.get(key, ("", 0.0))
    if time.monotonic() >= believed_until:
        failure = _try(kind, width, height, codecs)
        _tried[key] = failure, time.monotonic() + _FAILURE_BELIEVED_SECONDS if failure else math.inf
    return failure


def _absent(kind: EncoderKind) -> str:
    """What this machine plainly lacks of a hardware encoder's needs, or nothing: the process for a trial takes a second
    of CPU at every start, which machines without hardware need not pay."""
    libraries, devices = _NEEDS.get(kind.name.rpartition("_")[2], ((), ""))
    for library in libraries:
        try:
            ctypes.CDLL(library)
        except OSError:
            return f"no {library} here"
    return f"no {devices} here" if devices and not glob.glob(devices) else ""


def _try(kind: EncoderKind, width: int, height: int, codecs: Codecs) -> str:
    """Encode a few grey pictures with usual parameters; returns why it did not work, or nothing."""
    if absent := _absent(kind):
        return absent
    spec = RenditionSpec(stream="probe", codec=kind.codec)
    try:
        codec = codecs.open(kind, spec, width, height, 30.0, on_trial=True)
    except EncoderFailed as error:
        return str(error)
    with contextlib.closing(codec):
        try:
            for number in range(_PROBE_PICTURES):
                picture = VideoFrame(width, height, kind.pixel_format)
                for plane in picture.planes:
                    plane.update(b"\x80" * plane.buffer_size)
                picture.pts = number * 3000
                picture.time_base = TIME_BASE
                picture.pict_type = PictureType.I if number == 0 else PictureType.NONE
                if codec.encode(picture):
                    return ""
        except EncoderFailed as error:
            return str(error)
    return f"gave nothing after {_PROBE_PICTURES} pictures"
