"""Signed tokens (RFC 7519): keys out of files, made by the command line, checked at the door.

The key decides the algorithm, never the token: a secret is for HS256, an Ed25519 key for EdDSA (RFC 8037).
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jwt
import msgspec
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.errors import BadRequest, InvalidValue
from schemas.tokens import AUDIENCE, TokenClaims
from shared.private_file import read_private

Algorithm = Literal["HS256", "EdDSA"]

LEEWAY_SECONDS = 5.0  # clocks of hosts that keep time differ by less
MAX_TOKEN_CHARACTERS = 4096
_MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: as long as the hash
_NEW_SECRET_BYTES = 48
_FIXES = {
    "streams": "give stream ids, the beginning of ids and * (line-*), or * for all",
    "actions": "give view, publish or control",
    "sub": "give 1-64 of A-Z, a-z, 0-9 and . _ @ -, beginning with a letter or digit",
}
_PEM = b"-----BEGIN "


class TokenRefused(ValueError):
    """Why a token is not taken, in fixed words: nothing of the token is in them."""


@dataclass(frozen=True)
class TokenKey:
    """One key: to sign with, to check with, or both."""

    algorithm: Algorithm
    checks: bytes | Ed25519PublicKey
    signs: bytes | Ed25519PrivateKey | None
    """None of a public key."""
    fingerprint: str
    """Tells keys apart, and nothing else."""


def read_key(path: Path, what: str = "token key file") -> TokenKey:
    """A key out of a file: a PEM block of an Ed25519 key, public or private, or a secret as text.

    Raises:
        NotFound: there is no such file.
        BadRequest: others may read a secret, or it is no such key; never holds what is in the file.
    """
    data = read_private(path, what, secret=False)
    key = parse_key(data, f"{what} {str(path)!r}")
    if key.signs is not None:
        read_private(path, what)
    return key


def parse_key(data: bytes, what: str) -> TokenKey:
    """Raises: BadRequest: not a key that we take."""
    data = data.strip()
    if not data.startswith(_PEM):
        if len(data) < _MIN_SECRET_BYTES:
            raise BadRequest(f"{what}: a secret has {_MIN_SECRET_BYTES} bytes or more; framemesh token --new-key")
        return TokenKey("HS256", data, data, _fingerprint(b"HS256" + data))
    try:
        if b"PRIVATE KEY-----" in data.partition(b"\n")[0]:
            private = serialization.load_pem_private_key(data, None)
            if isinstance(private, Ed25519PrivateKey):
                return _ed25519(private.public_key(), private)
        else:
            public = serialization.load_pem_public_key(data)
            if isinstance(public, Ed25519PublicKey):
                return _ed25519(public, None)
    # TypeError: it has a password. InternalError: what OpenSSL says of some damaged ones.
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        pass
    raise BadRequest(f"{what}: not an Ed25519 key without password; framemesh token --new-key --algorithm EdDSA")


def new_secret() -> bytes:
    """A key for HS256, as a file holds it."""
    return secrets.token_urlsafe(_NEW_SECRET_BYTES).encode() + b"\n"


def new_key_pair() -> tuple[bytes, bytes]:
    """(private, public) for EdDSA, as PEM."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    )


def sign(claims: TokenClaims, key: TokenKey) -> str:
    """A signed token.

    Raises:
        BadRequest: the key can only check.
    """
    if key.signs is None:
        raise BadRequest("this is a public key, which only checks tokens; sign with the private one")
    return jwt.encode(msgspec.to_builtins(claims), key.signs, algorithm=key.algorithm)


def verify(token: str, key: TokenKey, audience: str = "") -> TokenClaims:
    """What a token says, once its signature and its times have been checked.

    `audience`: what `aud` must hold; empty: it may be left out, and is `framemesh` when it is there.

    Raises:
        TokenRefused: why it is not taken.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenRefused("it is too long")
    payload = _payload(token, key)
    try:
        claims = msgspec.convert(payload, TokenClaims)
    except msgspec.ValidationError:
        raise TokenRefused("its streams or actions are missing or malformed") from None
    named = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if named is None and audience:
        raise TokenRefused("it names no audience")
    if named is not None and (audience or AUDIENCE) not in named:
        raise TokenRefused("it is for another audience")
    return claims


def _payload(token: str, key: TokenKey) -> dict[str, Any]:
    options: Any = {"require": ["exp"], "verify_aud": False, "verify_sub": False, "verify_jti": False}
    try:
        return dict(jwt.decode(token, key.checks, algorithms=[key.algorithm], options=options, leeway=LEEWAY_SECONDS))
    except jwt.ExpiredSignatureError:
        raise TokenRefused("it has expired") from None
    except jwt.ImmatureSignatureError:
        raise TokenRefused("it is not valid yet") from None
    except jwt.MissingRequiredClaimError:
        raise TokenRefused("it has no end (exp)") from None
    except jwt.InvalidAlgorithmError:
        raise TokenRefused("it is signed with another algorithm than our key's") from None
    except jwt.InvalidSignatureError:
        raise TokenRefused("its signature is not of our key") from None
    # Text from outside: whatever is odd about it (a number without end, brackets in brackets) it is malformed.
    except (jwt.PyJWTError, ValueError, OverflowError, RecursionError, TypeError, AttributeError):
        raise TokenRefused("it is malformed") from None


def claims_for(
    streams: tuple[str, ...], actions: tuple[str, ...], seconds: float, name: str = "", audience: str = AUDIENCE
) -> TokenClaims:
    """Claims that hold from now on for so many seconds.

    Raises:
        BadRequest: a stream, an action or the name is none; names it.
    """
    now_s = int(time.time())
    given = {"streams": streams, "actions": actions, "iat": now_s, "exp": int(now_s + seconds), "aud": audience}
    if name:
        given["sub"] = name
    try:
        return msgspec.convert(given, TokenClaims)
    except msgspec.ValidationError as error:
        field = str(error).partition(" - at `$.")[2].partition("[")[0].rstrip("`")
        raise InvalidValue(field or "token", given.get(field), _FIXES.get(field, str(error))) from None


def _ed25519(public: Ed25519PublicKey, private: Ed25519PrivateKey | None) -> TokenKey:
    return TokenKey("EdDSA", public, private, _fingerprint(b"EdDSA" + public.public_bytes_raw()))


def _fingerprint(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
