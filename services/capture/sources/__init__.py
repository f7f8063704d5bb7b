"""The kinds of sources, by URL scheme. To add one: write its file, add its line to `_KINDS`."""

import contextlib
from urllib.parse import urlsplit

import msgspec

from schemas.errors import InvalidValue, NotFound, Unavailable
from schemas.pictures import check_pictures
from schemas.resources import StreamSpec
from schemas.units import parse_duration
from services.capture.device_calls import ask_device
from services.capture.settings import CaptureSettings
from services.capture.sources.application import ApplicationSource
from services.capture.sources.base import Source
from services.capture.sources.file import FileSource
from services.capture.sources.genicam import GenicamSource
from services.capture.sources.images import ImagesSource
from services.capture.sources.mix import MixSource
from services.capture.sources.network import NetworkSource
from services.capture.sources.onvif import OnvifSource
from services.capture.sources.pattern import PatternSource
from services.capture.sources.screen import ScreenSource
from services.capture.sources.srt import SrtSource
from services.capture.sources.udp import UdpSource
from services.capture.sources.v4l2 import V4l2Source
from services.capture.sources.whip import WhipSource
from shared.netguard import Policy, check_async
from shared.packet_ring import check_history
from shared.urls import MASK, redact

_KINDS: dict[str, type[Source]] = {
    "test": PatternSource,
    "file": FileSource,
    "images": ImagesSource,
    "screen": ScreenSource,
    "rtsp": NetworkSource,
    "rtsps": NetworkSource,
    "rtmp": NetworkSource,
    "http": NetworkSource,
    "https": NetworkSource,
    "udp": UdpSource,
    "srt": SrtSource,
    "onvif": OnvifSource,
    "v4l2": V4l2Source,
    "genicam": GenicamSource,
    "whip": WhipSource,
    "app": ApplicationSource,
    "mix": MixSource,
}
DEVICE_SCHEMES = frozenset(("v4l2", "genicam"))
"""Sources that judge settings of the device themselves; others have none."""
_OF_DEVICE = ("binning", "bit_depth", "trigger", "controls")
_WITHOUT_SOUND = frozenset(("v4l2", "genicam", "screen", "images", "app"))
_NOT_OPENED = frozenset(("test", "app", "mix", "whip"))  # there is nothing outside this process
_PUBLIC = frozenset(("rtsp", "rtsps", "rtmp", "http", "https"))  # what can be elsewhere than on this machine
_WITHOUT_URL = frozenset(("genicam",))  # a camera's name, no host: the gate for URLs has nothing to say
_MAX_FIELD_BYTES = (
    64 * 1024
)  # of a spec, in JSON: 256 controls with long names; the bus keeps it, and everybody reads it
_CHECK_SECONDS = 1.0  # a command's caller waits; a slow resolver is met again by the owner


def check_source(spec: StreamSpec) -> None:
    """Refuse at once what can never work, without any I/O; the owner finds the rest.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    _check_sizes(spec)
    scheme = _checked_scheme(spec.source)
    if spec.public_only and scheme not in _PUBLIC:
        names = ", ".join(f"{name}://" for name in sorted(_PUBLIC))
        raise InvalidValue("source", redact(spec.source)[0], f"public_only: only {names} can be used here")
    if spec.delivery == "lossless" and scheme != "app":
        raise InvalidValue("delivery", spec.delivery, "only app:// sources can wait for a consumer; leave it out")
    check_pictures(spec)
    if scheme not in DEVICE_SCHEMES:
        _refuse_device_settings(spec)
    for name in ("stall_after", "frozen_after"):
        if (text := getattr(spec, name)) is not None:
            parse_duration(text, name)
    check_history(spec.history)
    if spec.voice and scheme == "mix":
        raise InvalidValue("voice", True, "capture does not hear a mix; listen to the streams that it is made of")
    if spec.voice and (scheme in _WITHOUT_SOUND or not spec.audio):
        why = f"{scheme}:// sources have no sound" if scheme in _WITHOUT_SOUND else "audio is off"
        raise InvalidValue("voice", True, f"{why}; leave it out")
    _KINDS[scheme].check(spec)


def _checked_scheme(source: str) -> str:
    scheme, separator, _ = source.partition("://")
    if not separator or scheme.lower() not in _KINDS:
        # Without a scheme nobody can tell where a password would stand.
        shown = scheme if separator else MASK if {"@", "?"} & set(source) else source
        raise InvalidValue("source", shown, f"use a URL that starts with {', '.join(_KINDS)} and ://")
    try:
        urlsplit(source)
    except ValueError:  # a bracket of an IPv6 address that is not closed
        raise InvalidValue(
            "source", redact(source)[0], "write scheme://host:port/path, an IPv6 address in []"
        ) from None
    return scheme.lower()


def _check_sizes(spec: StreamSpec) -> None:
    for name in StreamSpec.__struct_fields__:
        size = len(msgspec.json.encode(getattr(spec, name)))
        if size > _MAX_FIELD_BYTES:
            raise InvalidValue(name, f"{size} bytes", f"use at most {_MAX_FIELD_BYTES} bytes")


def _refuse_device_settings(spec: StreamSpec) -> None:
    for name in _OF_DEVICE:
        if value := getattr(spec, name):
            key, shown = name, value
            if name == "controls":
                key, shown = next((f"controls.{control}", setting) for control, setting in value.items())
            raise InvalidValue(key, shown, "only v4l2:// and genicam:// cameras have such settings; leave it out")


async def check_here(spec: StreamSpec, settings: CaptureSettings) -> None:
    """Refuse what this node can never play, before it takes the place of what plays.

    Whether a source is there now is the owner's to find out, again and again.

    Raises:
        InvalidValue: a path outside the allowed folders, a forbidden address, no device.
        BadRequest: a file that is no media.
    """
    scheme = urlsplit(spec.source).scheme.lower()
    if scheme in _NOT_OPENED:
        return
    policy = Policy(
        schemes=frozenset((scheme,)),
        allow_private=not spec.public_only,
        file_roots=settings.file_roots,
        listens=not spec.public_only,
        folders=True,
    )
    with contextlib.suppress(NotFound, Unavailable):
        if scheme not in _WITHOUT_URL:
            await check_async(spec.source, policy, field="source", timeout_seconds=_CHECK_SECONDS)
        await ask_device(spec.stream, make_source(spec, spec.source, settings).probe)


def make_source(spec: StreamSpec, url: str, settings: CaptureSettings) -> Source:
    """The source for a checked spec; `url` is the full one, with credentials."""
    return _KINDS[urlsplit(url).scheme.lower()](spec, url, settings)
