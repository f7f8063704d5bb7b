"""What SRT and UDP pushes have in common: MPEG-TS in datagrams, sent by a process of their own."""

from urllib.parse import urlsplit

from schemas.errors import InvalidValue
from services.publisher.outputs.push import Push
from services.publisher.outputs.ts_file import TS_VIDEO_CODECS, ts_options
from shared.netguard import Policy, check


class TsPush(Push):
    """One transport stream to one address."""

    container_format = "mpegts"
    process = "services.publisher.ts_process"
    video_codecs = TS_VIDEO_CODECS
    audio_tracks = ("aac", "opus")

    def _options(self) -> dict[str, str]:
        return ts_options()

    def _checked(self) -> tuple[str, dict[str, str]]:
        policy = Policy(schemes=frozenset(self.schemes), allow_private=not self.spec.public_only, groups=True)
        return check(self._url, policy, field="to").pinned, {}

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self._url)
            host, port, path = parts.hostname, parts.port, parts.path.strip("/")
        except ValueError as error:
            raise InvalidValue("to", self._shown, str(error)) from None
        if parts.scheme not in self.schemes or not host or not port or path or parts.username is not None:
            raise InvalidValue("to", self._shown, f"write {self.schemes[0]}://host:port?option=value&…")
        if any(not character.isprintable() or character.isspace() for character in self._url):
            raise InvalidValue("to", self._shown, "no spaces and no control characters in a URL")
        if parts.fragment:  # what follows would be lost without a word
            raise InvalidValue("to", self._shown, "write # as %23")
