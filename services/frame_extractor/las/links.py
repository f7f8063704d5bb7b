"""Links to pictures that end: `/frames/<what>.<signature>`, for whoever has one, without a key."""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import BadRequest, Unavailable
from services.frame_extractor.las.failures import LINK_INVALID, Refused
from shared.private_file import read_private

_KEY_BYTES: Final = 32
_MARK_BYTES: Final = 16  # 128 bits: nobody guesses one
_MAX_TOKEN_CHARACTERS: Final = 8192


class _Promise(msgspec.Struct, frozen=True, array_like=True):
    """What a link says."""

    path: str
    until_s: int


class Links:
    """Makes and reads them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, path: str, seconds: float) -> str:
        """For the picture at `path`, for so long."""
        payload = msgspec.json.encode(_Promise(path, int(time.time() + seconds)))
        return f"{_text(payload)}.{_text(self._mark(payload))}"

    def path(self, token: str) -> tuple[str, float]:
        """The picture that a token is for, and for how many seconds still.

        Raises:
            Refused: it is not ours, or has ended.
        """
        said, _, mark = token.partition(".")
        try:
            if len(token) > _MAX_TOKEN_CHARACTERS or not token.isascii():
                raise ValueError
            payload = _bytes(said)
            if not hmac.compare_digest(_bytes(mark), self._mark(payload)):
                raise ValueError
            promise = msgspec.json.decode(payload, type=_Promise)
        except (ValueError, binascii.Error):  # msgspec's own are ValueErrors
            raise Refused(LINK_INVALID, "take it as the poll gave it") from None
        left_s = promise.until_s - time.time()
        if left_s <= 0:
            raise Refused(LINK_INVALID, "poll the task again for a new one")
        return promise.path, left_s

    def _mark(self, payload: bytes) -> bytes:
        return hmac.new(self._key, b"frame-link\x00" + payload, hashlib.sha256).digest()[:_MARK_BYTES]


def link_key(path: Path) -> bytes:
    """The key in a file, which is made where there is none; several services that share the file share the links.

    Raises:
        BadRequest: others may read it, or it is none.
        Unavailable: it can be neither read nor made.
    """
    try:
        if not path.exists():
            _make(path)
        key = read_private(path, "link key file")
    except OSError as error:
        raise Unavailable(f"link key file {str(path)!r}: {error.strerror}; give link_key_file another place") from None
    if len(key) < _KEY_BYTES:
        raise BadRequest(f"link key file {str(path)!r}: give {_KEY_BYTES} bytes or more, or none for a new one")
    return key


def _make(path: Path) -> None:
    """Whole or not at all: whoever comes second takes the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(passing, path)
        except FileExistsError:
            return
    finally:
        os.unlink(passing)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:  # several texts would be one token
        raise ValueError
    return data
