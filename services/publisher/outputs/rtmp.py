"""RTMP and RTMPS push: FLV with H.264 and AAC."""

from services.publisher.outputs.push import Push


class RtmpPush(Push):
    """Publishes to an application and stream key, `rtmp://host[:1935]/app/key`."""

    schemes = ("rtmp", "rtmps")
    container_format = "flv"
    video_codecs = frozenset({"h264"})
    audio_tracks = ("aac",)

    def _options(self) -> dict[str, str]:
        # no_duration_filesize: a live stream has neither, and libav would go back to fill them in.
        return {
            "rw_timeout": self._timeout_microseconds(),
            "flush_packets": "1",
            "flvflags": "no_duration_filesize",
            **self._tls_options(),
        }
