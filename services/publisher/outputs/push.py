"""What RTMP and RTSP pushes have in common: a peer that libav talks to in a thread of its own."""

import ssl
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

import av

from schemas.errors import InvalidValue, MeshError
from schemas.packets import PacketHeader, Track
from schemas.resources import OutputSpec
from services.publisher.failures import explain_network
from services.publisher.outputs.base import Output, OutputSettings
from shared.media.mux import Muxer, TrackParameters, network_options
from shared.urls import redact

_MICROSECONDS = 1_000_000
_NANOSECONDS = 1_000_000_000
# A packet given to the muxer passes two queues of one packet each, and the sorting of tracks, before the next one
# waits for the peer: when so many of every track got through, the peer has answered.
_CONFIRMING_PACKETS = 4
# Without sound on an open sound track the sorting lets pictures through after 0.5 s; then this much tells.
_CONFIRMING_NS = _NANOSECONDS


class Push(Output):
    """One connection. libav connects while the first packets wait; `confirmed` tells when the peer has answered."""

    schemes: ClassVar[tuple[str, ...]]
    container_format: ClassVar[str]

    def __init__(self, spec: OutputSpec, url: str, settings: OutputSettings) -> None:
        super().__init__(spec, url, settings)
        self._url = url
        self._shown = redact(url, stream_key=True)[0]
        self._check_url()
        self._muxer: Muxer | None = None
        self._packets: dict[Track, int] = {}
        self._media_ns = 0

    def open(self, tracks: Mapping[Track, TrackParameters], start_ns: int) -> None:
        self._packets = dict.fromkeys(tracks, 0)
        try:
            self._muxer = Muxer(self._url, "fifo", tracks, network_options(self.container_format, self._options()))
        except (OSError, ValueError, av.FFmpegError) as error:
            raise self._explained(error) from None

    def write(self, header: PacketHeader, payload: memoryview, pts_ns: int, dts_ns: int) -> None:
        if self._muxer is None:
            raise RuntimeError("write before open")
        try:
            self._muxer.write(
                header.track, payload, pts_ns=pts_ns, dts_ns=dts_ns, duration_ns=header.duration_ns, key=header.key
            )
        except (OSError, ValueError, av.FFmpegError) as error:
            raise self._explained(error) from None
        self._packets[header.track] += 1
        self._media_ns = max(self._media_ns, dts_ns)
        self.bytes_written += len(payload)

    def close(self) -> None:
        muxer, self._muxer = self._muxer, None
        if muxer is None:
            return
        try:
            muxer.close()
        except (OSError, ValueError, av.FFmpegError) as error:
            raise self._explained(error) from None

    @property
    def confirmed(self) -> bool:
        if self._muxer is None:
            return False
        return min(self._packets.values()) >= _CONFIRMING_PACKETS or (
            self._media_ns >= _CONFIRMING_NS and self._packets["video"] >= _CONFIRMING_PACKETS
        )

    @abstractmethod
    def _options(self) -> dict[str, str]:
        """Options of the muxer and its protocol, deadlines among them."""

    def _timeout_microseconds(self) -> str:
        return str(int(self.settings.network_timeout_seconds * _MICROSECONDS))

    def _tls_options(self) -> dict[str, str]:
        """libav checks no certificate unless it is told to, and knows no place where the system keeps its roots."""
        if urlsplit(self._url).scheme not in ("rtmps", "rtsps"):
            return {}
        paths = ssl.get_default_verify_paths()
        roots = {"ca_file": paths.cafile or paths.openssl_cafile}
        return {"tls_verify": "1", **roots}

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self._url)
            host, port, path = parts.hostname, parts.port, parts.path.strip("/")
        except ValueError as error:
            raise InvalidValue("to", self._shown, str(error)) from None
        if parts.scheme not in self.schemes or not host or not path or port == 0:
            raise InvalidValue("to", self._shown, f"write {self.schemes[0]}://host[:port]/path")
        if any(not character.isprintable() or character.isspace() for character in self._url):
            raise InvalidValue("to", self._shown, "no spaces and no control characters in a URL")

    def _explained(self, error: Exception) -> MeshError:
        return explain_network(error, self._shown, self._url, self.settings.network_timeout_seconds)
