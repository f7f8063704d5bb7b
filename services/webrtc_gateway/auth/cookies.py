"""The console's cookie: what a browser has in place of a token where it cannot set a header.

A page gives its token once, to `POST /api/login`, and gets this: HttpOnly, so that no script reads it, SameSite=Strict
and believed only from our own page, so that no other page uses it, and short-lived. It holds who its owner is, signed
with a key of the gateway's own, and no token. Sockets, pictures and media elements of the page then need no header, and
nothing secret is ever in a URL.
"""

import base64
import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

import msgspec
from aiohttp import web

from schemas.errors import BadRequest
from schemas.tokens import Actions, StreamPatterns, TokenName
from services.webrtc_gateway.auth.grant import Grant
from services.webrtc_gateway.auth.tokens import Tokens
from shared.private_file import read_private

COOKIE_SECONDS = 12 * 3600  # a working day; an open page renews it
_KEY_BYTES = 32
_MAX_COOKIE_CHARACTERS = 3800  # with its name and attributes a browser keeps 4096


class _Holder(msgspec.Struct, frozen=True, kw_only=True):
    """What the cookie says."""

    identity: str
    name: TokenName
    streams: StreamPatterns
    actions: Actions
    until_s: float
    """When the cookie ends."""
    token_until_s: float | None = None
    """When the token does."""


class Cookies:
    """Makes and reads them; `name` differs from gateway to gateway, as ports do not keep cookies apart."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.name = f"framemesh-{hashlib.sha256(b'name' + key).hexdigest()[:8]}"

    def set(self, response: web.StreamResponse, grant: Grant, *, secure: bool) -> None:
        """`secure`: the page came over TLS.

        Raises:
            BadRequest: the token names more streams than a cookie holds.
        """
        now_s = time.time()
        until_s = min(now_s + COOKIE_SECONDS, grant.expires_s or now_s + COOKIE_SECONDS)
        holder = _Holder(
            identity=grant.identity,
            name=grant.name,
            streams=grant.streams,
            actions=tuple(sorted(grant.actions)),
            until_s=until_s,
            token_until_s=grant.expires_s,
        )
        payload = msgspec.json.encode(holder)
        value = f"{_text(payload)}.{self._mark(payload)}"
        if len(value) > _MAX_COOKIE_CHARACTERS:
            raise BadRequest("this token names too many streams to sign in with; use one that names their beginning")
        response.set_cookie(
            self.name,
            value,
            max_age=max(1, int(until_s - now_s)),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=secure,
        )

    def clear(self, response: web.StreamResponse) -> None:
        response.del_cookie(self.name, path="/", httponly=True, samesite="Strict")

    def grant(self, request: web.Request, tokens: Tokens) -> Grant | None:
        """The rights of a page that is signed in; None: it is not, or not any more."""
        value = request.cookies.get(self.name, "")
        payload_text, _, mark = value.partition(".")
        if not mark or len(value) > _MAX_COOKIE_CHARACTERS or not _is_own_page(request):
            return None
        try:
            payload = base64.urlsafe_b64decode(payload_text + "=" * (-len(payload_text) % 4))
            if not hmac.compare_digest(mark.encode(), self._mark(payload).encode()):
                return None
            holder = msgspec.json.decode(payload, type=_Holder)
        except (ValueError, msgspec.DecodeError):
            return None
        if holder.until_s <= time.time():
            return None
        earlier = Grant(holder.name, holder.identity, holder.streams, frozenset(holder.actions), holder.token_until_s)
        return tokens.still(earlier)

    def _mark(self, payload: bytes) -> str:
        return hmac.new(self._key, payload, hashlib.sha256).hexdigest()


def _text(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()  # cookies bear neither quotes nor padding


def _is_own_page(request: web.Request) -> bool:
    """Not a page of another port or of a listed origin: those have tokens of their own."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2].lower() == request.headers.get("Host", "").lower()


def cookie_key(folder: Path) -> bytes:
    """The gateway's own key, made at the first start: pages stay signed in when it is started again."""
    path = folder / "cookie.key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = read_private(path, "cookie key")
        return key if len(key) == _KEY_BYTES else secrets.token_bytes(_KEY_BYTES)
    except OSError:  # a disk that cannot be written to: whoever is signed in signs in again after a restart
        return secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(_KEY_BYTES)
        file.write(key)
    return key
