"""RTSP push: ANNOUNCE and RECORD over one TCP connection (RFC 2326 sections 10.3 and 10.11)."""

from services.publisher.outputs.push import Push


class RtspPush(Push):
    """Publishes to a path of an RTSP server, `rtsp://host[:554]/path`; media interleaved in the same connection."""

    schemes = ("rtsp", "rtsps")
    container_format = "rtsp"
    video_codecs = frozenset({"h264"})
    audio_tracks = ("aac", "opus")

    def _options(self) -> dict[str, str]:
        # UDP would need ports at the far end and a way through its firewall.
        return {"rtsp_transport": "tcp", "timeout": self._timeout_microseconds(), **self._tls_options()}
