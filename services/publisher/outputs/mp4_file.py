"""A recording: fragmented MP4, playable at every moment up to its last whole fragment."""

from services.publisher.outputs.file_output import FileOutput

_MICROSECONDS = 1_000_000
# delay_moov: the header is written with the first fragment, when it is known where each track starts (written
# before, libav takes every track to start at 0 and sound is off by that much); default_base_moof: fragments stand
# alone, as MSE and HLS want; skip_trailer: no index at the end, whose memory would grow with the recording;
# frag_keyframe: a fragment begins with every key picture, so that a file can be cut there.
_MOVFLAGS = "delay_moov+default_base_moof+skip_trailer+frag_keyframe"


class Mp4File(FileOutput):
    """One file of fragments."""

    container_format = "mp4"
    video_codecs = frozenset({"h264", "hevc", "av1", "vp9", "mjpeg"})
    audio_tracks = ("aac", "opus")

    def _options(self) -> dict[str, str]:
        return {"movflags": _MOVFLAGS, "frag_duration": str(int(self.settings.fragment_seconds * _MICROSECONDS))}
