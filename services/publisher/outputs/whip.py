"""WHIP push (RFC 9725): WebRTC to a media server, without transcoding."""

from schemas.errors import InvalidValue
from services.publisher.outputs.push import Push
from services.publisher.whip_endpoint import split_token


class WhipPush(Push):
    """Publishes to a WHIP endpoint, `https://host/path?token=…`; the token goes as a bearer token, not in the URL.

    Also `https://user:token@host/path`. H.264 without B-frames, VP8 and Opus; H.264 is offered as (constrained)
    baseline, and receivers take the profile that comes.
    """

    schemes = ("https", "http")
    process = "services.publisher.whip_process"
    video_codecs = frozenset({"h264", "vp8"})
    audio_tracks = ("opus",)
    takes_reordered = False
    dropped_as = "not_sent"  # most of it is replaced by newer pictures while the connection is made

    def _checked(self) -> tuple[str, dict[str, str]]:
        """The URL as it is: the process judges and pins the address of every request, redirects included."""
        return self._url, {}

    def _options(self) -> dict[str, str]:
        return {}

    def _check_url(self) -> None:
        super()._check_url()
        token = split_token(self._url)[1]
        if not token.isascii() or not token.isprintable() or " " in token:
            raise InvalidValue("to", self._shown, "a token holds visible ASCII characters only")
