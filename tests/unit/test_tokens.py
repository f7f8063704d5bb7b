"""Signed tokens and the tokens file: what is taken, what is not, and that nothing of a token is ever told."""

import base64
import hashlib
import hmac
import itertools
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from schemas.errors import BadRequest, MeshError, NotFound
from schemas.tokens import covers
from services.webrtc_gateway.auth.denials import Unauthorized
from services.webrtc_gateway.auth.owners import Owner, SessionOwners
from services.webrtc_gateway.auth.token_file import TokenList, read_tokens
from services.webrtc_gateway.auth.tokens import Tokens
from shared.tokens import (
    TokenKey,
    TokenRefused,
    claims_for,
    new_key_pair,
    new_secret,
    parse_key,
    read_key,
    sign,
    verify,
)

pytestmark = pytest.mark.unit

SECRET = parse_key(new_secret(), "key")
PRIVATE_PEM, PUBLIC_PEM = new_key_pair()
PAIR, PUBLIC = parse_key(PRIVATE_PEM, "key"), parse_key(PUBLIC_PEM, "key")
LATER_SECONDS = 86_400  # some are made when tests are collected, and a whole run takes its time
STATIC = "a-token-of-the-control-room"


def payload(**changes: Any) -> dict[str, Any]:
    made = {"streams": ["cam0"], "actions": ["view"], "exp": int(time.time()) + LATER_SECONDS, **changes}
    return {name: value for name, value in made.items() if value is not None}


def signed(key: TokenKey, **changes: Any) -> str:
    assert key.signs is not None
    return jwt.encode(payload(**changes), key.signs, algorithm=key.algorithm)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(("signer", "checker"), [(SECRET, SECRET), (PAIR, PAIR), (PAIR, PUBLIC)])
def test_what_was_signed_is_what_is_read(signer: TokenKey, checker: TokenKey) -> None:
    claims = claims_for(("cam0", "line-*"), ("view", "control"), 60, "line-pc")
    assert verify(sign(claims, signer), checker) == claims


def test_a_public_key_signs_nothing() -> None:
    with pytest.raises(BadRequest, match="private"):
        sign(claims_for(("cam0",), ("view",), 60), PUBLIC)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": int(time.time()) - 20}, "expired"),
        ({"exp": None}, "no end"),
        ({"exp": "soon"}, "malformed"),
        ({"nbf": int(time.time()) + LATER_SECONDS}, "not valid yet"),
        ({"iat": int(time.time()) + LATER_SECONDS}, "not valid yet"),
        ({"streams": []}, "streams or actions"),
        ({"streams": ["Cam 0"]}, "streams or actions"),
        ({"streams": "cam0"}, "streams or actions"),
        ({"actions": ["view", "everything"]}, "streams or actions"),
        ({"actions": None}, "streams or actions"),
        ({"sub": "a\nb"}, "streams or actions"),
        ({"aud": "other"}, "another audience"),
    ],
)
@pytest.mark.parametrize("key", [SECRET, PAIR])
def test_what_a_signature_does_not_make_good(key: TokenKey, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(TokenRefused, match=why):
        verify(signed(key, **changes), key)


def test_clocks_may_differ_a_little() -> None:
    verify(signed(SECRET, exp=int(time.time()) - 2), SECRET)
    verify(signed(SECRET, iat=int(time.time()) + 2, nbf=int(time.time()) + 2), SECRET)


def test_the_audience_is_asked_for_when_it_is_set() -> None:
    verify(signed(SECRET, aud="framemesh"), SECRET)
    verify(signed(SECRET, aud=["other", "plant-4"]), SECRET, "plant-4")
    with pytest.raises(TokenRefused, match="no audience"):
        verify(signed(SECRET), SECRET, "plant-4")
    with pytest.raises(TokenRefused, match="another audience"):
        verify(signed(SECRET, aud="framemesh"), SECRET, "plant-4")


def _by_hand(header: dict[str, Any], key: bytes) -> str:
    text = f"{part(header)}.{part(payload())}"
    mark = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "token",
    [
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(payload())}.",
        f"{part({'alg': 'None'})}.{part(payload())}.",
        f"{part({})}.{part(payload())}.",
        _by_hand({"alg": "HS256"}, PUBLIC_PEM),
        _by_hand({"alg": "HS256"}, PUBLIC_PEM.strip()),
        _by_hand({"alg": "EdDSA"}, PUBLIC_PEM),
        _by_hand({"alg": "HS512"}, PUBLIC_PEM),
        _by_hand({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}, b"\0\0\0"),
        signed(SECRET),
        signed(parse_key(new_key_pair()[0], "another")),
    ],
    ids=itertools.count(),
)
def test_the_key_decides_the_algorithm(token: str) -> None:
    with pytest.raises(TokenRefused):
        verify(token, PUBLIC)


@pytest.mark.parametrize(
    "token",
    [signed(PAIR), f"{part({'alg': 'none'})}.{part(payload())}.", signed(SECRET) + "A"],
    ids=itertools.count(),
)
def test_a_secret_takes_its_own_only(token: str) -> None:
    with pytest.raises(TokenRefused):
        verify(token, SECRET)


def test_one_changed_character_is_enough() -> None:
    head, _, mark = signed(PAIR).split(".")
    with pytest.raises(TokenRefused, match="signature"):
        verify(f"{head}.{part(payload(streams=['*'], actions=['control']))}.{mark}", PUBLIC)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\0.\0.\0",
        f"{part([])}.{part([])}.",
        f"{part({'alg': ['HS256']})}.{part(payload())}.AAAA",
        base64.urlsafe_b64encode(b"[" * 2900).decode() + ".e30.AAAA",
        "A" * 5000,
        _by_hand({"alg": "HS256", "crit": ["exp"]}, b"x"),
    ],
    ids=itertools.count(),
)
@pytest.mark.parametrize("key", [SECRET, PUBLIC])
def test_hostile_texts_are_refused_and_nothing_else(token: str, key: TokenKey) -> None:
    with pytest.raises(TokenRefused):
        verify(token, key)
    with pytest.raises(Unauthorized):
        Tokens(TokenList(), key).grant(token)


def test_a_number_without_end_in_a_signed_token() -> None:
    assert isinstance(SECRET.signs, bytes)
    endless = base64.urlsafe_b64encode(b'{"exp": Infinity}').rstrip(b"=").decode()
    text = f"{part({'alg': 'HS256'})}.{endless}"
    mark = base64.urlsafe_b64encode(hmac.new(SECRET.signs, text.encode(), hashlib.sha256).digest()).rstrip(b"=")
    with pytest.raises(TokenRefused, match="malformed"):
        verify(f"{text}.{mark.decode()}", SECRET)


@pytest.mark.parametrize(
    ("pattern", "stream", "covered"),
    [
        ("*", "cam0", True),
        ("cam0", "cam0", True),
        ("cam0", "cam01", False),
        ("line-*", "line-1", True),
        ("line-*", "line", False),
        ("line-*", "xline-1", False),
    ],
)
def test_patterns(pattern: str, stream: str, covered: bool) -> None:
    assert covers(pattern, stream) is covered


# -- files -----------------------------------------------------------------------------------------------------------


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602, 0o666])
def test_a_secret_that_others_can_use_is_none(tmp_path: Path, mode: int) -> None:
    with pytest.raises(BadRequest, match=f"{mode:04o}"):
        read_key(write(tmp_path / "key", new_secret(), mode))


def test_a_public_key_may_be_read_by_all(tmp_path: Path) -> None:
    assert read_key(write(tmp_path / "key", PUBLIC_PEM, 0o644)).fingerprint == PAIR.fingerprint
    with pytest.raises(BadRequest, match="0646"):
        read_key(write(tmp_path / "writable", PUBLIC_PEM, 0o646))


@pytest.mark.parametrize(
    "text",
    ["", "short", "-----BEGIN CERTIFICATE-----\nAA\n", PRIVATE_PEM.decode()[:60], "-----BEGIN PRIVATE KEY-----"],
    ids=itertools.count(),
)
def test_what_is_no_key_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadRequest, match="key") as refused:
        read_key(write(tmp_path / "k", text))
    assert not text or text not in refused.value.message
    with pytest.raises(NotFound, match="nowhere"):
        read_key(tmp_path / "nowhere")


ENTRY = f"{{name: wall, token: {STATIC}, streams: [cam0], actions: [view]}}"


def test_tokens_as_they_are_and_as_hashes(tmp_path: Path) -> None:
    other = "another-token-of-a-line-pc"
    mark = hashlib.sha256(other.encode()).hexdigest()
    listed = read_tokens(
        write(
            tmp_path / "t", f"- {ENTRY}\n- {{name: pc, sha256: {mark}, streams: ['line-*'], actions: [view, control]}}"
        )
    )
    tokens = Tokens(listed)
    assert tokens.grant(STATIC).name == "wall"
    grant = tokens.grant(other)
    assert grant.may("control", "line-7")
    assert not grant.may("publish", "line-7")
    assert not grant.may("control", "cam0")
    assert not grant.may("control", None)
    for wrong in (mark, STATIC + "x", STATIC[:-1], "", "x" * 5000):
        with pytest.raises(Unauthorized):
            tokens.grant(wrong)
    assert STATIC not in repr(tokens.grant(STATIC))
    assert hashlib.sha256(STATIC.encode()).hexdigest()[:16] not in grant.identity


def test_every_entry_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    real = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        nonlocal compared
        compared += 1
        return real(one, other)

    entries = "".join(f"- {ENTRY.replace(STATIC, f'{STATIC}-{number}')}\n" for number in range(9))
    tokens = read_tokens(write(tmp_path / "t", entries))
    monkeypatch.setattr(hmac, "compare_digest", counted)
    assert tokens.find(f"{STATIC}-0") is not None
    assert tokens.find("nothing") is None
    assert compared == 18, "also after it was found"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"- {ENTRY}\n- {ENTRY}", "entry 2"),
        ("- {name: wall, token: tooshort, streams: [cam0], actions: [view]}", "token"),
        ("- {name: wall, token: 12345678901234567890123, streams: [cam0], actions: [view]}", "token"),
        (f"- {ENTRY.replace('[view]', '[look]')}", "actions"),
        (f"- {ENTRY.replace('[cam0]', '[CAM]')}", "streams"),
        (f"- {ENTRY.replace('[cam0]', '[]')}", "streams"),
        (f"- {ENTRY.replace('name: wall, ', '')}", "name"),
        (f"- {ENTRY.replace(f'token: {STATIC}, ', '')}", "either token or sha256"),
        (f"- {ENTRY.replace('token', 'tokem')}", "tokem"),
        (f"- {STATIC}", "entry 1"),
        (f"{STATIC}", "list"),
        (f"- [{STATIC}", "line"),
        ("[" * 400, "tokens file"),
        ("- {name: wall, token: 2024-99-99, streams: [cam0], actions: [view]}", "put quotes"),
        (f"- {'9' * 5_000}", "put quotes"),
        ("- !!timestamp x", "put quotes"),
    ],
)
def test_a_wrong_tokens_file_is_named_and_not_shown(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(MeshError, match=named) as refused:
        read_tokens(write(tmp_path / "t", text))
    assert STATIC not in refused.value.message
    assert "tooshort" not in refused.value.message
    assert "1234567890" not in refused.value.message


def test_an_empty_tokens_file_lets_nobody_in(tmp_path: Path) -> None:
    tokens = Tokens(read_tokens(write(tmp_path / "t", "")))
    assert tokens.configured
    with pytest.raises(Unauthorized):
        tokens.grant(STATIC)


def test_a_session_that_runs_is_not_forgotten_for_those_that_have_ended(tmp_path: Path) -> None:
    tokens = Tokens(read_tokens(write(tmp_path / "t", f"- {ENTRY}")))
    owner = Owner(tokens.grant(STATIC), "cam0")
    owners = SessionOwners(most=2)
    running = {"first"}
    owners.alive.append(lambda stream, session: session in running)
    for session in ("first", "second", "third", "fourth"):
        running.add(session)
        owners.opened(session, owner)
        running -= {"second", "third"}
    assert owners.of("second") is None
    tokens.known = TokenList()
    assert owners.withdrawn(tokens) == [("first", "cam0"), ("fourth", "cam0")], "they end with their token"
