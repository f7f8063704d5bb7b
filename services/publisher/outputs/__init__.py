"""The kinds of outputs, by their format: a new kind is one file and one line here."""

from urllib.parse import urlsplit

from schemas.errors import InvalidValue
from schemas.resources import OutputFormat, OutputSpec
from services.publisher.file_names import file_format
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.outputs.hls import HlsOutput
from services.publisher.outputs.mkv_file import MkvFile
from services.publisher.outputs.mp4_file import Mp4File
from services.publisher.outputs.rtmp import RtmpPush
from services.publisher.outputs.rtsp import RtspPush
from services.publisher.outputs.srt import SrtPush
from services.publisher.outputs.ts_file import TsFile
from services.publisher.outputs.udp import UdpPush
from services.publisher.outputs.whip import WhipPush
from shared.urls import redact

OUTPUTS: dict[OutputFormat, type[Output]] = {
    "mp4": Mp4File,
    "ts": TsFile,
    "mkv": MkvFile,
    "hls": HlsOutput,
    "flv": RtmpPush,
    "rtsp": RtspPush,
    "srt": SrtPush,
    "udp": UdpPush,
    "whip": WhipPush,
}
_FORMAT_OF_SCHEME: dict[str, OutputFormat] = {
    "rtmp": "flv",
    "rtmps": "flv",
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "srt": "srt",
    "udp": "udp",
    "http": "whip",
    "https": "whip",
}


def format_of(spec: OutputSpec, url: str) -> OutputFormat:
    """The format that the URL means; where the spec names one, it has to be that.

    Raises:
        InvalidValue: nothing tells, or two disagree.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme == "file":
        return file_format(spec, url)
    if scheme not in _FORMAT_OF_SCHEME:
        raise InvalidValue(
            "to",
            redact(url, stream_key=True)[0],
            "use file://….mp4 (.ts, .mkv, .m3u8), rtmp://host/app/key, rtsp://host/path, srt://host:port, "
            "udp://host:port or https://host/whip-path",
        )
    found = _FORMAT_OF_SCHEME[scheme]
    if spec.format not in (None, found):
        raise InvalidValue("format", spec.format, f"{scheme}:// is {found}; leave format out")
    return found


def make_output(spec: OutputSpec, url: str, settings: OutputSettings) -> Output:
    """A new, unopened output for one attempt.

    Raises:
        InvalidValue: the URL can never work.
    """
    kind = format_of(spec, url)
    if kind not in OUTPUTS:
        raise InvalidValue("to", redact(url, stream_key=True)[0], f"outputs of the kind {kind} are not served yet")
    return OUTPUTS[kind](spec, url, settings)
