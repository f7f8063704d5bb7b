"""The kinds of outputs, by their format: a new kind is one file and one line here."""

from urllib.parse import urlsplit

from schemas.errors import InvalidValue
from schemas.resources import OutputFormat, OutputSpec
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.outputs.mp4_file import Mp4File
from services.publisher.outputs.rtmp import RtmpPush
from services.publisher.outputs.rtsp import RtspPush
from shared.urls import redact

OUTPUTS: dict[OutputFormat, type[Output]] = {
    "mp4": Mp4File,
    "flv": RtmpPush,
    "rtsp": RtspPush,
}
_FORMAT_OF_SCHEME: dict[str, OutputFormat] = {
    "file": "mp4",
    "rtmp": "flv",
    "rtmps": "flv",
    "rtsp": "rtsp",
    "rtsps": "rtsp",
}


def format_of(spec: OutputSpec, url: str) -> OutputFormat:
    """The format that the spec names, or that its URL means.

    Raises:
        InvalidValue: neither tells.
    """
    if spec.format is not None:
        return spec.format
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in _FORMAT_OF_SCHEME:
        raise InvalidValue(
            "to", redact(url, stream_key=True)[0], "use file://….mp4, rtmp://host/app/key or rtsp://host/path"
        )
    return _FORMAT_OF_SCHEME[scheme]


def make_output(spec: OutputSpec, url: str, settings: OutputSettings) -> Output:
    """A new, unopened output for one attempt.

    Raises:
        InvalidValue: the URL can never work.
    """
    return OUTPUTS[format_of(spec, url)](spec, url, settings)
