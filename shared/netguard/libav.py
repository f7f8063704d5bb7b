"""Opens what was checked with libav."""

import logging
import time
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound, Unavailable
from shared.netguard.errors import NotMedia, TooLong, explain_av_error
from shared.netguard.guard import check
from shared.netguard.http_reader import HttpReader, Timeouts
from shared.netguard.kept_body import Keep, KeptBody, may_keep
from shared.netguard.url import GuardedUrl
from shared.netguard.what_came import what_came

if TYPE_CHECKING:
    import av.container

_log = logging.getLogger(__name__)

ANY_TEXT = "replace"
"""PyAV's `metadata_errors`: a title in an unknown encoding is no reason to read no media."""
_AVIO_FLAG_WRITE = 2
_MAX_OPENINGS = 4  # times `open_seconds` for all that libav reads until a playlist is open: of a master, every variant
_MAX_LOST_ENTRIES = 3  # live playlists lose a segment now and then; more in a row is a broken source

# Demuxers that read one resource only, plus HLS where every entry passes `_PlaylistIo`. Left out are those that
# open whatever a file tells them: concat, image2, sdp, dash, imf and the like.
MEDIA_FORMATS = (
    "mov,mp4,matroska,webm,mpegts,mpeg,flv,live_flv,avi,ogg,mp3,aac,ac3,flac,wav,w64,aiff,ivf,h264,hevc,av1,obu,m4v,"
    "mjpeg,mpjpeg,mpegvideo,dv,mxf,asf,gif,apng,yuv4mpegpipe,webvtt,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
_FORMATS = {
    "http": f"{MEDIA_FORMATS},hls",
    "https": f"{MEDIA_FORMATS},hls",
    "file": MEDIA_FORMATS,
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "rtmp": "flv,live_flv",
    "rtmps": "flv,live_flv",
    "udp": "mpegts",
}
# The protocols that libav itself opens for a scheme. HTTP is ours, so there it opens none. Without `rtsp` in the list
# libav connects to the URL it was given, and refuses redirects, which it would follow to any host by itself.
_PROTOCOLS = {
    "http": "none",
    "https": "none",
    "file": "file",
    "rtsp": "tcp,udp,rtp",
    "rtsps": "tls,tcp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "udp": "udp",
}


def open_input(
    guarded: GuardedUrl,
    options: Mapping[str, str] | None = None,
    timeouts: Timeouts | None = None,
    format: str | None = None,
    file_options: Mapping[str, str] | None = None,
    keep: Keep | None = None,
) -> "av.container.InputContainer":
    """Open a checked URL at its pinned address, with no way for what it contains to lead elsewhere.

    `options` are libav's, for demuxer, protocol and codecs; whitelists cannot be changed by them. A refused redirect
    or playlist entry is raised here or, when it comes later, by `demux` and `decode`; give those errors
    to `explain_av_error`. RTSP redirects are refused. RTSP goes over TCP, unless the policy allows private networks and
    `options` has another `rtsp_transport`; its request line names the address, which cameras do not mind.

    Args:
        file_options: instead of `options` for what has an end: a body whose length is told, or an MP4 whose index comes
            last.
        keep: where files are kept that come from servers without ranges; None: they are read once and in order.

    Raises:
        MeshError: typed, see `explain_av_error`.
    """
    import av  # heavy, and not there in every image

    timeouts = timeouts or Timeouts()
    scheme = guarded.scheme
    if scheme not in _FORMATS:
        raise InvalidValue(guarded.field_name, guarded.shown, f"{scheme}:// cannot be opened by libav here")
    settings = _settings(guarded, options)
    limits = (timeouts.open_seconds, timeouts.read_seconds)
    playlist_io = _PlaylistIo(guarded, timeouts)
    started = time.monotonic()
    reader: HttpReader | None = None
    try:
        if scheme in ("http", "https"):
            reader = HttpReader(guarded, timeouts)
            reader.head()  # kept, for whoever wants to know what came
            body = KeptBody(reader, keep) if keep is not None and may_keep(reader, keep) else reader
            if file_options is not None and (body is not reader or not reader.endless):
                settings = _settings(guarded, file_options)
            # A keep-alive request would go round `io_open` to a connection that is not libav's.
            settings.update(http_persistent="0", http_multiple="0")
            container = av.open(
                body,
                "r",
                format=format,
                container_options=settings,
                metadata_errors=ANY_TEXT,
                timeout=limits,
                io_open=playlist_io,
            )
            playlist_io.opening = False
            return container
        name = str(guarded.file) if scheme == "file" else guarded.pinned
        return av.open(name, "r", format=format, container_options=settings, metadata_errors=ANY_TEXT, timeout=limits)
    except MeshError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        # RTSP reports "invalid data" when the deadline interrupts it.
        late = scheme != "file" and time.monotonic() - started >= timeouts.open_seconds
        cause = playlist_io.error or (TimeoutError() if late else error)
        what = f"{guarded.field_name} {guarded.shown!r}"
        if scheme in ("rtsp", "rtsps") and isinstance(cause, av.ArgumentError):
            what += " (if the server redirects, give the URL where it leads)"
        explained = explain_av_error(cause, what, [guarded.url])
        if type(explained) is NotMedia and reader is not None:
            explained = NotMedia(f"{explained.message}: {what_came(reader)}")
        raise explained from None


def _settings(guarded: GuardedUrl, options: Mapping[str, str] | None) -> dict[str, str]:
    """libav's options, with what whoever opens may not change."""
    settings = {**protocol_options(guarded), **(options or {})}
    formats = _FORMATS[guarded.scheme]
    settings["format_whitelist"] = formats if guarded.policy.playlists else formats.removesuffix(",hls")
    settings["protocol_whitelist"] = _PROTOCOLS[guarded.scheme]
    if not guarded.policy.allow_private and guarded.scheme in ("rtsp", "rtsps"):
        settings["rtsp_transport"] = "tcp"  # over UDP a server can name another host to send to
    return settings


def protocol_options(guarded: GuardedUrl) -> dict[str, str]:
    """What libav needs to be told of a pinned URL, so that its server still sees the name it was asked by."""
    if guarded.scheme in ("rtsp", "rtsps"):
        return {"rtsp_transport": "tcp"}
    if guarded.scheme == "rtmp":
        # Servers choose the virtual host by tcUrl, which libav would make of the pinned address.
        parts = guarded.target.partition("?")[0].split("/")
        application = "/".join(parts[1:3] if len(parts) > 3 and ":" not in parts[2] else parts[1:2])
        return {"rtmp_tcurl": f"rtmp://{_named(guarded)}/{application}"}
    return {}


def _named(guarded: GuardedUrl) -> str:
    host = f"[{guarded.host}]" if ":" in guarded.host else guarded.host
    return f"{host}:{guarded.port}"


class _PlaylistIo:
    """libav's `io_open`: every entry of a playlist is checked like the URL that named it."""

    def __init__(self, parent: GuardedUrl, timeouts: Timeouts) -> None:
        self._parent = parent
        self._policy = parent.policy.only("http", "https")
        self._timeouts = timeouts
        self._lost = 0
        self._refused = False
        self._read_bytes = 0
        self._open_until = time.monotonic() + _MAX_OPENINGS * timeouts.open_seconds
        self.opening = True
        """libav has not returned from opening yet."""
        self.error: MeshError | None = None
        """Why the last entry was not opened."""

    def __call__(self, url: str, flags: int, options: Mapping[str, str]) -> BinaryIO | HttpReader:
        if self._refused:  # that is being raised; what libav still tries before it gives up is of no interest
            return BytesIO()
        try:
            return self._open(url, flags, options)
        except (NotFound, Unavailable) as error:
            self.error = error
            self._lost += 1
            if self._lost > _MAX_LOST_ENTRIES:
                self._refused = True
                raise
            _log.warning("playlist entry lost: %s", error.message)
            return BytesIO()  # nothing in it: libav goes on with the next
        except MeshError as error:
            self.error = error
            self._refused = True
            raise

    def _open(self, url: str, flags: int, options: Mapping[str, str]) -> HttpReader:
        if flags & _AVIO_FLAG_WRITE:
            raise BadRequest(f"{self._parent.field_name} {self._parent.shown!r}: a playlist cannot ask for writing")
        if self.opening and time.monotonic() > self._open_until:
            self._lost = _MAX_LOST_ENTRIES
            raise Unavailable(f"{self._parent.field_name} {self._parent.shown!r}: takes too long to open")
        entry = check(url, self._policy, f"playlist entry of {self._parent.field_name} {self._parent.shown!r}:")
        end = options.get("end_offset")
        start = int(options.get("offset", "0"))
        last = int(end) if end else None
        reader = HttpReader(entry, self._timeouts, start, last, credentials=self._parent, count=self._note)
        self._lost = 0
        return reader

    def _note(self, count: int) -> None:
        most_bytes = self._parent.policy.playlist_bytes
        self._read_bytes += count
        if most_bytes is not None and self._read_bytes > most_bytes:
            what = f"{self._parent.field_name} {self._parent.shown!r}"
            raise TooLong(f"{what}: its playlist leads to more than the {most_bytes} bytes that are allowed")
