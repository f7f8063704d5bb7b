"""Who may pull: Basic and Digest authentication (RFC 2617, as RTSP clients speak it: MD5, mostly without qop)."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from schemas.errors import InvalidValue

_REALM = "framemesh"
_NONCE_BYTES = 16
_PARAMETER = re.compile(r'([A-Za-z]{1,32})=(?:"([^"]*)"|([^\s,"]*))')
_USERS_SETTING = "FRAMEMESH_PUBLISHER_RTSP_USERS"


def parse_users(text: str) -> dict[str, str]:
    """Names and passwords from `name:password`, separated by commas or lines.

    Raises:
        InvalidValue: one has no name or no password; shows none.
    """
    users = {}
    for number, entry in enumerate(filter(None, (part.strip() for part in re.split(r"[,\n]", text))), 1):
        name, _, password = entry.partition(":")
        if not name or not password:
            raise InvalidValue(_USERS_SETTING, f"entry {number}", "write name:password, several with commas or lines")
        users[name] = password
    return users


class Challenge:
    """The authentication of one connection: its nonce is of no use on any other."""

    def __init__(self, users: Mapping[str, str]) -> None:
        """`users`: passwords by name; without one everybody may pull."""
        self._users = users
        self._nonce = secrets.token_hex(_NONCE_BYTES)

    @property
    def headers(self) -> tuple[str, ...]:
        """The values of `WWW-Authenticate`, the better one first."""
        return f'Digest realm="{_REALM}", nonce="{self._nonce}"', f'Basic realm="{_REALM}"'

    def passes(self, method: str, authorization: str) -> bool:
        """Whether a request with this `Authorization` header (may be empty) is from one of the users."""
        if not self._users:
            return True
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "basic":
            return self._basic(rest.strip())
        return scheme.lower() == "digest" and self._digest(method, rest)

    def _basic(self, token: str) -> bool:
        try:
            name, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        return name in self._users and _same(password, self._users[name])

    def _digest(self, method: str, text: str) -> bool:
        given = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(text)}
        name = given.get("username", "")
        if name not in self._users or given.get("realm") != _REALM:
            return False
        if not _same(given.get("nonce", ""), self._nonce) or given.get("algorithm", "MD5").upper() != "MD5":
            return False
        secret = _md5(f"{name}:{_REALM}:{self._users[name]}")
        # The URI as the client wrote it; another one gains nothing: the nonce is of this connection alone.
        request = _md5(f"{method}:{given.get('uri', '')}")
        middle = self._nonce
        if qop := given.get("qop"):
            middle = f"{self._nonce}:{given.get('nc', '')}:{given.get('cnonce', '')}:{qop}"
        return _same(given.get("response", "").lower(), _md5(f"{secret}:{middle}:{request}"))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # what RTSP clients know, and nothing better


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
