"""STUN and TURN servers that clients are told of, with credentials for a while (RFC 9725 section 4.6)."""

import base64
import hashlib
import hmac
import re
import time
from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta

from schemas.errors import BadRequest, InvalidValue
from shared.private_file import read_private

# RFC 7064 and RFC 7065; only TURN has a transport.
_HOST = r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?"
IceServerUrl = Annotated[
    str,
    Meta(
        pattern=rf"^(stuns?:{_HOST}|turns?:{_HOST}(\?transport=(udp|tcp))?)$(?!\n)",
        description="stun:host[:port], turn:host[:port][?transport=tcp] or turns:host[:port]",
    ),
]
DEFAULT_CREDENTIAL_SECONDS = 86_400  # a day; a relay may look again when a page that is still open renews its place
MAX_SERVERS = 8  # browsers try every one of them, and warn of more than a few
SETTING = "FRAMEMESH_WEBRTC_GATEWAY_ICE_SERVERS"
_USER_CHARACTERS = 8  # of a session's id: relays limit and log by user
_QUOTABLE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,512}")  # what stands in a quoted string as it is


class Entry(NamedTuple):
    """One server; STUN takes neither name nor credential."""

    url: str
    username: str = ""
    credential: str = ""


class IceServers:
    """The servers, and how clients prove to a relay that we sent them.

    Either all clients get one `username` and credential, or each gets its own that ends by itself, made of a secret
    that the relay knows too: coturn's `use-auth-secret`, the "TURN REST API".
    """

    def __init__(
        self,
        urls: tuple[str, ...] = (),
        *,
        username: str = "",
        credential_file: Path | None = None,
        secret_file: Path | None = None,
        credential_seconds: int = DEFAULT_CREDENTIAL_SECONDS,
    ) -> None:
        """Reads the file that is given, and again with every `read`.

        Raises:
            InvalidValue: too many servers, or a relay without exactly one way to prove oneself.
            NotFound, BadRequest: the file is missing, others may read it, or it holds what no header can.
        """
        self._urls, self._username, self._seconds = urls, username, credential_seconds
        self._credential_file, self._secret_file = credential_file, secret_file
        self._credential = ""
        self._secret = b""
        if len(urls) > MAX_SERVERS:
            raise InvalidValue(SETTING, ",".join(urls), f"give at most {MAX_SERVERS} servers")
        relay = next((url for url in urls if url.startswith("turn")), None)
        if credential_file is not None and secret_file is not None:
            raise InvalidValue(SETTING, ",".join(urls), "give TURN_SECRET_FILE or TURN_CREDENTIAL_FILE, not both")
        if relay is not None and secret_file is None and (credential_file is None or not username):
            raise InvalidValue(SETTING, relay, "give TURN_SECRET_FILE, or TURN_USERNAME and TURN_CREDENTIAL_FILE")
        if username and not _QUOTABLE.fullmatch(username):
            raise InvalidValue(
                "FRAMEMESH_WEBRTC_GATEWAY_TURN_USERNAME", username, 'take printable ASCII without " and \\'
            )
        self.read()

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file for file in (self._credential_file, self._secret_file) if file is not None)

    def read(self) -> None:
        """Read the secret again; clients that come later get credentials of the new one."""
        if self._secret_file is not None:
            secret = read_private(self._secret_file, "TURN secret file").strip()
            if not secret:
                raise BadRequest(
                    f"TURN secret file {str(self._secret_file)!r}: empty; write the relay's secret into it"
                )
            self._secret = secret
        if self._credential_file is not None:
            text = read_private(self._credential_file, "TURN credential file").strip().decode(errors="replace")
            if not _QUOTABLE.fullmatch(text):
                where = f"TURN credential file {str(self._credential_file)!r}"
                raise BadRequest(f'{where}: give 1 to 512 printable ASCII characters without " and \\')
            self._credential = text

    def links(self, user: str) -> tuple[str, ...]:
        """The values of `Link` headers for one client; `user` tells clients apart in the relay's limits and logs."""
        return tuple(f'<{entry.url}>; rel="ice-server"{_proof(entry)}' for entry in self.entries(user))

    def entries(self, user: str) -> tuple[Entry, ...]:
        """The same, for those who are not told by headers."""
        username, credential = self._proof(user)
        return tuple(Entry(url, username, credential) if url.startswith("turn") else Entry(url) for url in self._urls)

    def _proof(self, user: str) -> tuple[str, str]:
        username, credential = self._username, self._credential
        if self._secret:
            username = f"{int(time.time()) + self._seconds}:{user[:_USER_CHARACTERS]}"
            # SHA-1 is what relays of this kind compute; as an HMAC it holds.
            digest = hmac.new(self._secret, username.encode(), hashlib.sha1).digest()
            credential = base64.b64encode(digest).decode()
        return username, credential


def _proof(entry: Entry) -> str:
    if not entry.username:
        return ""
    return f'; username="{entry.username}"; credential="{entry.credential}"; credential-type="password"'
