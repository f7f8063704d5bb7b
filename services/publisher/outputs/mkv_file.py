"""A recording as Matroska (RFC 9559): takes every codec of the mesh; playable up to its last whole cluster."""

from services.publisher.outputs.file_output import FileOutput

_MILLISECONDS = 1_000
# A second of the largest pictures that an encoder is set to: a cluster is kept in memory until it is written.
_CLUSTER_BYTES = 16 << 20


class MkvFile(FileOutput):
    """One file of clusters, with an index of its key pictures (40 bytes each, kept in memory) once it is closed."""

    container_format = "matroska"
    seekable = True
    video_codecs = frozenset({"h264", "hevc", "av1", "vp8", "vp9", "mjpeg"})
    audio_tracks = ("aac", "opus")

    def _options(self) -> dict[str, str]:
        return {
            "cluster_time_limit": str(int(self.settings.fragment_seconds * _MILLISECONDS)),
            "cluster_size_limit": str(_CLUSTER_BYTES),
        }
