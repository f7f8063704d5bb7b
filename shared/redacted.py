"""Requests as they may be kept and shown: without what is secret, and no longer than people read."""

from typing import Any, Final

import msgspec

from shared.urls import MASK, redact, scrub

_MAX_READ_BYTES: Final = 64 * 1024  # a whole profile of a camera has 4 KiB; what is longer holds pictures and texts
_MAX_KEPT_BYTES: Final = 4 * 1024
_MAX_CHARACTERS: Final = 256
_MAX_ITEMS: Final = 32
_MAX_DEPTH: Final = 8
# Names of fields as the mesh and those it speaks to have them. Not every name with `key`: `key_interval` is none.
_SECRET_ENDINGS: Final = (
    *("token", "secret", "password", "passphrase", "credential", "credentials", "signature", "authorization"),
    *("apikey", "accesskey", "secretkey", "streamkey"),
)
_SECRET_NAMES: Final = frozenset({"key", "pass", "passwd", "pwd", "jwt", "auth", "cookie"})


def redacted(request: bytes) -> dict[str, Any]:
    """What a JSON request says; `{"bytes": n}` of one that is too long, or is none. Never raises."""
    try:
        asked = msgspec.json.decode(request) if 0 < len(request) <= _MAX_READ_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        return {"bytes": len(request)} if request else {}
    shown: dict[str, Any] = _shown(asked, 0)
    return shown if len(msgspec.json.encode(shown)) <= _MAX_KEPT_BYTES else {"bytes": len(request)}


def _shown(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict | list) and depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        few = list(value.items())[:_MAX_ITEMS]
        return {
            str(name)[:_MAX_CHARACTERS]: MASK if inner and _is_secret(str(name)) else _shown(inner, depth + 1)
            for name, inner in few
        }
    if isinstance(value, list):
        return [_shown(inner, depth + 1) for inner in value[:_MAX_ITEMS]]
    return value


def _text(text: str) -> str:
    """URLs in it lose their secrets before it is cut, so that no half of one stays."""
    if "://" in text:
        text = scrub(redact(text, stream_key=True)[0])
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"


def _is_secret(name: str) -> bool:
    plain = name.lower().replace("_", "").replace("-", "")
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)
