"""Signatures of the CloudMix API: the vector measured on the wire, and everything that must not pass."""

from collections.abc import Callable

import pytest

from services.cloud_mix_proxy.edge.refusal import Refusal
from services.cloud_mix_proxy.edge.signature import Request, sign, verify

pytestmark = pytest.mark.unit
KEY, SECRET = "AKLTEXAMPLE", "c2VjcmV0RXhhbXBsZQ=="
BODY = b'{"PageSize": 10, "Page": 1}'
QUERY = "Action=ListCloudMixTask&Version=2023-01-01"
DATE = "20261121T000000Z"
NOW_S = 1_795_219_200.0  # 2026-11-21 00:00:00 UTC
SIGNED = "content-type;host;x-content-sha256;x-date"
SHA256 = "55693a22793e9c3a3e0b7e319ee617e535fcc90d396e34a3bd5573c57d146d85"
VECTORS = {
    "127.0.0.1:8080": "567c34d3ecea4b2f0df7d0d2f9da056125040d50cc7c042f82d39e833c42d399",
    "live.volcengineapi.com": "aeb582aedd58b7ce25522a8e1ece66ec31339ed585f24903ee5a241feff8dc81",
    "live.example:443": "1fb410ccd3a094462c2ac6a4e914f91732a46fd8f8d3550f2a8225b74321e782",
}


def authorization(
    signature: str, signed: str = SIGNED, day: str = "20261121", service: str = "live", key: str = KEY
) -> str:
    scope = f"{key}/{day}/cn-north-1/{service}/request"
    return f"HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"


def request(**changed: object) -> Request:
    """The vector's request, with fields, or headers by their names, changed; a header of None is left out."""
    fields: dict[str, object] = {"method": "POST", "path": "/", "query": QUERY, "body": BODY}
    headers: dict[str, object] = {
        "Host": "127.0.0.1:8080",
        "Content-Type": "application/json",
        "X-Date": DATE,
        "X-Content-Sha256": SHA256,
        "Authorization": authorization(VECTORS["127.0.0.1:8080"]),
    }
    for name, value in changed.items():
        (fields if name in fields else headers)[name.replace("_", "-") if name not in fields else name] = value
    given = tuple((name, str(value)) for name, value in headers.items() if value is not None)
    return Request(headers=given, **fields)  # type: ignore[arg-type]


def known(key: str) -> str | None:
    return SECRET if key == KEY else None


@pytest.mark.parametrize("host", VECTORS)
def test_the_vector_passes(host: str) -> None:
    assert verify(request(Host=host, Authorization=authorization(VECTORS[host])), known, NOW_S).access_key == KEY


def test_signing_gives_the_vector() -> None:
    headers = tuple((name, value) for name, value in request().headers if name != "Authorization")
    signed = sign(Request("POST", "/", QUERY, headers, BODY), KEY, SECRET, "cn-north-1", DATE)
    assert signed == authorization(VECTORS["127.0.0.1:8080"])


@pytest.mark.parametrize("headers", [("X-Sdk-Request", "X-Sdk-Invocation-Id"), ("User-Agent",)])
def test_whatever_headers_are_signed_in_whatever_region(headers: tuple[str, ...]) -> None:
    named = (("Host", "mix.example"), ("X-Date", DATE), *((name, "  some value ") for name in headers))
    bare = Request("POST", "/", "b=%20x+y&a=%E4%BD%A0~", named, BODY)
    signed = sign(bare, KEY, SECRET, "cn-beijing", DATE)
    assert verify(bare._replace(headers=(*named, ("Authorization", signed))), known, NOW_S) == (KEY, "cn-beijing")
    reordered = bare._replace(query="a=%e4%bd%a0%7E&b=%20x%20y", headers=(*named, ("Authorization", signed)))
    assert verify(reordered, known, NOW_S).access_key == KEY, "the same query, written in another way"


BAD: list[tuple[str, dict[str, object], str, float]] = [
    ("another body", {"body": BODY + b" "}, "SignatureDoesNotMatch", 0),
    ("another body, honestly hashed", {"body": b"{}", "X_Content_Sha256": None}, "InvalidAuthorization", 0),
    ("another action", {"query": QUERY.replace("List", "Delete")}, "SignatureDoesNotMatch", 0),
    ("an argument more", {"query": QUERY + "&x=1"}, "SignatureDoesNotMatch", 0),
    ("another method", {"method": "GET"}, "SignatureDoesNotMatch", 0),
    ("another path", {"path": "/x"}, "SignatureDoesNotMatch", 0),
    ("another host", {"Host": "127.0.0.1:8081"}, "SignatureDoesNotMatch", 0),
    ("another type", {"Content_Type": "text/plain"}, "SignatureDoesNotMatch", 0),
    ("a bit changed", {"Authorization": authorization("0" * 64)}, "SignatureDoesNotMatch", 0),
    ("no header", {"Authorization": None}, "MissingAuthenticationToken", 0),
    ("no date", {"X_Date": None}, "MissingRequestInfo", 0),
    ("a date of another form", {"X_Date": "2026-11-21T00:00:00Z"}, "InvalidTimestamp", 0),
    ("no such day", {"X_Date": "20261399T000000Z"}, "InvalidTimestamp", 0),
    ("too late", {}, "InvalidTimestamp", 901),
    ("from the future", {}, "InvalidTimestamp", -901),
    ("of another day", {"Authorization": authorization("0" * 64, day="20261120")}, "InvalidCredential", 0),
    ("for another service", {"Authorization": authorization("0" * 64, service="vod")}, "ServiceNotFound", 0),
    ("an unknown key", {"Authorization": authorization("0" * 64, key="AKLTOTHER")}, "InvalidAccessKey", 0),
    ("host not signed", {"Authorization": authorization("0" * 64, signed="x-date")}, "InvalidAuthorization", 0),
    ("date not signed", {"Authorization": authorization("0" * 64, signed="host")}, "InvalidAuthorization", 0),
    ("not sent", {"Authorization": authorization("0" * 64, signed="host;x-date;y")}, "InvalidAuthorization", 0),
    ("no signature", {"Authorization": f"HMAC-SHA256 Credential={KEY}/x"}, "MissingSignature", 0),
    ("another algorithm", {"Authorization": "AWS4-" + authorization("0" * 64)}, "InvalidAuthorization", 0),
    ("a short signature", {"Authorization": authorization("abc")}, "InvalidAuthorization", 0),
    ("more behind it", {"Authorization": authorization("0" * 64) + "0"}, "InvalidAuthorization", 0),
    ("a scope of four", {"Authorization": authorization("0" * 64).replace("/live", "")}, "InvalidCredential", 0),
    ("in the query", {"query": QUERY + "&X-Signature=1"}, "InvalidAuthorization", 0),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "code", "late_s"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_must_not_pass(changed: dict[str, object], code: str, late_s: float) -> None:
    with pytest.raises(Refusal) as refused:
        verify(request(**changed), known, NOW_S + late_s)
    assert refused.value.code == code


def test_a_header_sent_twice_is_no_header() -> None:
    twice = request()
    with pytest.raises(Refusal, match="host"):
        verify(twice._replace(headers=(*twice.headers, ("host", "127.0.0.1:8080"))), known, NOW_S)


@pytest.mark.parametrize("name", ["Authorization", "X-Content-Sha256"])
def test_of_two_nobody_knows_which_one_is_meant(name: str) -> None:
    """Also where both are good, and where the second is not signed."""
    good = dict(request().headers)[name]
    for second in (good, "0" * 64):
        with pytest.raises(Refusal, match=f"{name.lower()}.*once") as refused:
            verify(request()._replace(headers=(*request().headers, (name.upper(), second))), known, NOW_S)
        assert refused.value.code == "InvalidAuthorization"


def test_900_seconds_are_allowed_both_ways() -> None:
    for late_s in (-900, 900):
        assert verify(request(), known, NOW_S + late_s).access_key == KEY


def test_an_empty_secret_is_no_door() -> None:
    empty: Callable[[str], str | None] = lambda _key: None  # noqa: E731
    signed = sign(Request("POST", "/", QUERY, request().headers[:4], BODY), KEY, "\0" * 32, "cn-north-1", DATE)
    with pytest.raises(Refusal) as refused:
        verify(request(Authorization=signed), empty, NOW_S)
    assert refused.value.code == "InvalidAccessKey"
