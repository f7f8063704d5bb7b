"""Answers to demands for a user name and password, also to hostile ones."""

import contextlib
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Unavailable
from shared.netguard import GuardedUrl, Policy, check
from shared.netguard.http_auth import authorization, pick_challenge

pytestmark = pytest.mark.unit

MD5 = 'Digest realm="r", nonce="n", qop="auth"'
SHA = 'Digest realm="r", nonce="n", qop="auth-int, auth", algorithm=SHA-256'
UNKNOWN = 'Digest realm="r", nonce="n", algorithm=SHA-512-256'
BASIC = 'Basic realm="r"'


@pytest.fixture(scope="module")
def url() -> GuardedUrl:
    return check("http://%C3%BCser:p%C3%A4ss@127.0.0.1/x?y=1", Policy(frozenset(("http",)), allow_private=True))


def test_the_strongest_that_can_be_answered() -> None:
    assert pick_challenge([]) == "Basic"
    assert pick_challenge([BASIC, MD5, SHA, UNKNOWN]) == SHA
    assert pick_challenge([UNKNOWN, MD5, BASIC]) == MD5
    assert pick_challenge([UNKNOWN, BASIC]) == BASIC


@pytest.mark.parametrize(("challenge", "algorithm"), [(MD5, "md5"), (SHA, "sha256")])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_digest_beyond_ascii(url: GuardedUrl, challenge: str, algorithm: str, method: str) -> None:
    def hashed(text: str) -> str:
        return hashlib.new(algorithm, text.encode()).hexdigest()

    answer = authorization(url, url, challenge, method)["Authorization"]
    given_ = dict(re.findall(r'(\w+)="?([^",]*)"?', answer))
    secret, request = hashed("üser:r:päss"), hashed(f"{method}:/x?y=1")
    assert given_["response"] == hashed(":".join((secret, "n", given_["nc"], given_["cnonce"], "auth", request)))


@pytest.mark.parametrize(
    "challenge", [UNKNOWN, "Digest", "Digest realm=", 'Digest realm="r", nonce="n", qop="auth-int"', "NTLM"]
)
def test_what_cannot_be_answered(url: GuardedUrl, challenge: str) -> None:
    with pytest.raises(Unavailable, match="of an unknown kind") as caught:
        authorization(url, url, challenge)
    assert "päss" not in str(caught.value)


def test_a_name_that_no_header_can_hold() -> None:
    url = check("http://%E5%B1%B1:p@127.0.0.1/", Policy(frozenset(("http",)), allow_private=True))
    with pytest.raises(Unavailable, match="of an unknown kind"):
        authorization(url, url, MD5)


@given(st.text(alphabet='Digest ,="realmnoncqp\\\r\nü', max_size=80))
def test_hostile_challenges(url: GuardedUrl, text: str) -> None:
    challenge = pick_challenge([text, f"Digest {text}"])
    said = ""
    with contextlib.suppress(Unavailable):
        said = authorization(url, url, challenge).get("Authorization", "")
    assert "päss" not in said
