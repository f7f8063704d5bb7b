"""Signatures of requests: HMAC-SHA256 over what was received, checked before anything in it is believed."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from services.cloud_mix_proxy.edge.refusal import Refusal

SERVICE: Final = "live"
MAX_SKEW_SECONDS: Final = 900
"""The vendor publishes none; this is what others of the kind allow."""
_ALGORITHM: Final = "HMAC-SHA256"
_AUTHORIZATION: Final = re.compile(
    rf"{_ALGORITHM} Credential=([\x21-\x7e]{{1,512}}), ?"
    r"SignedHeaders=([a-z0-9;._-]{1,4096}), ?Signature=([0-9a-f]{64})",
    re.ASCII,
)
_SCOPE: Final = re.compile(r"([^/]{1,128})/([0-9]{8})/([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})/request", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_MUST_BE_SIGNED: Final = ("host", "x-date")
_ONCE: Final = ("authorization", "x-content-sha256")
_IN_QUERY: Final = frozenset(("X-Algorithm", "X-Credential", "X-Signature", "X-SignedHeaders", "X-SignedQueries"))
_UNKNOWN_KEY: Final = b"\0" * 32
"""In the place of the secret of a key that nobody has: the answer to it takes as long."""
_UNRESERVED: Final = "-_.~"  # RFC 3986 section 2.3


class Request(NamedTuple):
    """One request as it was received."""

    method: str
    path: str
    """As on the wire, still encoded."""
    query: str
    """As on the wire, without the question mark."""
    headers: Sequence[tuple[str, str]]
    body: bytes


class Signer(NamedTuple):
    """Who has signed a request, and for which region."""

    access_key: str
    region: str


def verify(request: Request, secret_of: Callable[[str], str | None] | None, now_s: float | None = None) -> Signer:
    """The access key whose owner has signed the request.

    Args:
        secret_of: the secret of an access key, or None where there is no such key. None instead of all this: nobody's
            signature is checked, only that there is one in form and time, and that the body is what it was.
        now_s: seconds since 1970; None: now.

    Raises:
        Refusal: the signature is missing, old, of an unknown key, or not that of this request.
    """
    if any(name in _IN_QUERY for name, _ in _pairs(request)):
        raise Refusal("InvalidAuthorization", "a signature in the query signs no body; send the Authorization header")
    _refuse_twice(request)
    given = _one(request, "authorization")
    if not given:
        raise Refusal("MissingAuthenticationToken", "the request has no Authorization header; sign it with your key")
    parts = _AUTHORIZATION.fullmatch(given)
    if parts is None:
        raise _malformed(given)
    credential, names, signature = parts.groups()
    scope = _SCOPE.fullmatch(credential)
    if scope is None:
        raise Refusal("InvalidCredential", "Credential is <access key>/<YYYYMMDD>/<region>/<service>/request")
    access_key, day, region, service = scope.groups()
    date = _checked_date(request, day, time.time() if now_s is None else now_s)
    if service != SERVICE:
        raise Refusal("ServiceNotFound", f"service {service!r} is not here; sign for {SERVICE!r}")
    headers = _signed_headers(request, names)
    _check_hash(request)
    if secret_of is None:
        return Signer(access_key, region)
    secret = secret_of(access_key)
    scoped = _Scope(day, region, service)
    expected = _signature(
        request, headers, names, date, scoped, secret.encode() if secret is not None else _UNKNOWN_KEY
    )
    good = hmac.compare_digest(expected, signature)
    if secret is None:
        raise Refusal("InvalidAccessKey", f"The accesskey [{access_key}] included in the request is invalid.")
    if not good:
        raise Refusal("SignatureDoesNotMatch", "the signature is not that of this request with this key")
    return Signer(access_key, region)


def sign(request: Request, access_key: str, secret: str, region: str, date: str) -> str:
    """The Authorization header of a request whose headers are all signed.

    `date`: `YYYYMMDDThhmmssZ`, as in the request's X-Date.
    """
    scope = _Scope(date[:8], region, SERVICE)
    names = ";".join(sorted(name.lower() for name, _ in request.headers))
    signature = _signature(request, _signed_headers(request, names), names, date, scope, secret.encode())
    return f"{_ALGORITHM} Credential={access_key}/{scope.text}, SignedHeaders={names}, Signature={signature}"


class _Scope(NamedTuple):
    """What a key derived from a secret is good for."""

    day: str
    region: str
    service: str

    @property
    def text(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/request"


def _signature(
    request: Request, headers: Sequence[tuple[str, str]], names: str, date: str, scope: _Scope, secret: bytes
) -> str:
    lines = (
        request.method.upper(),
        "/".join(quote(unquote_to_bytes(part), safe=_UNRESERVED) for part in (request.path or "/").split("/")),
        "&".join(
            f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for name, value in _pairs(request)
        ),
        *(f"{name}:{value}" for name, value in headers),
        "",
        names,
        _sha256(request.body),
    )
    to_sign = "\n".join((_ALGORITHM, date, scope.text, _sha256("\n".join(lines).encode(errors="surrogateescape"))))
    key = secret
    for step in (scope.day, scope.region, scope.service, "request", to_sign):
        key = hmac.digest(key, step.encode(), hashlib.sha256)
    return key.hex()


def _check_hash(request: Request) -> None:
    claimed = _one(request, "x-content-sha256")
    if claimed is not None and claimed != _sha256(request.body):
        raise Refusal("SignatureDoesNotMatch", "X-Content-Sha256 is not the SHA-256 of the body that was received")


def _checked_date(request: Request, day: str, now_s: float) -> str:
    date = _one(request, "x-date")
    if not date:
        raise Refusal("MissingRequestInfo", "missing timestamp information: send X-Date as YYYYMMDDThhmmssZ")
    try:
        if not _DATE.fullmatch(date):
            raise ValueError(date)
        then = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refusal("InvalidTimestamp", "X-Date is not a time like 20261121T080000Z") from None
    if abs(now_s - then) > MAX_SKEW_SECONDS:
        raise Refusal("InvalidTimestamp", f"X-Date {date} is more than {MAX_SKEW_SECONDS} s from the time here")
    if day != date[:8]:
        raise Refusal("InvalidCredential", f"Credential is of {day}, X-Date of {date[:8]}")
    return date


def _signed_headers(request: Request, names: str) -> list[tuple[str, str]]:
    """(name, value) of each header that is signed, in the order that the signer gives."""
    asked = names.split(";")
    for name in _MUST_BE_SIGNED:
        if name not in asked:
            raise Refusal("InvalidAuthorization", f"SignedHeaders must name {' and '.join(_MUST_BE_SIGNED)}")
    found = []
    for name in asked:
        value = _one(request, name)
        if value is None:
            raise Refusal("InvalidAuthorization", f"SignedHeaders names {name!r}, which must be sent once")
        # Signers leave a default port out, though some send it.
        found.append((name, value.removesuffix(":80").removesuffix(":443") if name == "host" else value))
    return found


def _refuse_twice(request: Request) -> None:
    """Of two of a kind each reader takes another one."""
    names = [name.lower() for name, _ in request.headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise Refusal("InvalidAuthorization", f"header {name!r} must be sent once")


def _one(request: Request, name: str) -> str | None:
    """The value of a header; None when it was sent not at all, or more than once."""
    values = [value.strip() for key, value in request.headers if key.lower() == name]
    return values[0] if len(values) == 1 else None


def _pairs(request: Request) -> list[tuple[str, str]]:
    """(name, value) of the query, decoded, in order."""
    return sorted(parse_qsl(request.query, keep_blank_values=True))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _malformed(given: str) -> Refusal:
    if given.startswith(_ALGORITHM) and "Signature=" not in given:
        return Refusal("MissingSignature", "Authorization has no Signature")
    form = f"{_ALGORITHM} Credential=…, SignedHeaders=…, Signature=<64 hex digits>"
    return Refusal("InvalidAuthorization", f"Authorization is not of the form `{form}`")
