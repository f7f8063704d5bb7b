"""NATS nkeys: the seed that says who a process is, and the files that hold one.

A file is either a decorated `.creds` of NATS (a JWT and a seed), or one line with the seed of a user. Lines that begin
with `#` are comments; `# framemesh party capture` says whose seed it is, as the name in a JWT does.
"""

import base64
import binascii
import os
import re
from typing import NamedTuple

import msgspec

from schemas.errors import BadRequest

_PARTY = re.compile(r"^# framemesh party ([a-z0-9][a-z0-9-]*)\s*$", re.MULTILINE)
_SEED = re.compile(r"^\s*(SU[A-Z2-7]{56})\s*$", re.MULTILINE)  # 32 bytes, two of prefix, two of checksum, in base32
_JWT = re.compile(r"-----BEGIN NATS USER JWT-----\s+(\S+)\s+------END NATS USER JWT------")
_SEED_BYTES = 32
_CHECKSUM_BYTES = 2


class Credentials(NamedTuple):
    """What one file says."""

    seed: str
    jwt: str
    """Empty: the server knows the public key."""
    party: str
    """Empty: nobody says."""


class Signed(NamedTuple):
    public_key: str
    signature: str
    """In base64."""


def parse_credentials(text: str) -> Credentials:
    """Read what a credentials file holds.

    Raises:
        BadRequest: it holds no seed of a user, or a damaged one; never shows it.
    """
    found = _SEED.search(text)
    if found is None:
        raise BadRequest("holds no seed of a user: give a .creds file, or one with a line that begins with SU")
    raw = base64.b32decode(found[1] + "=" * (-len(found[1]) % 8))
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if binascii.crc_hqx(body, 0).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        raise BadRequest("its seed is damaged: the checksum is another")
    jwt = _JWT.search(text)
    token = jwt[1] if jwt else ""
    party = _PARTY.search(text)
    return Credentials(found[1], token, party[1] if party else _jwt_name(token))


def sign(credentials: Credentials, nonce: str) -> Signed:
    """The answer to a server's nonce."""
    pair = _key_pair(credentials.seed)
    signature = base64.b64encode(pair.sign(nonce.encode())).decode()
    return Signed(pair.public_key.decode(), signature)


def public_key(seed: str) -> str:
    """What a server knows the seed's holder by."""
    return str(_key_pair(seed).public_key.decode())


def new_seed() -> str:
    """A new user's."""
    import nkeys

    return str(nkeys.encode_seed(os.urandom(_SEED_BYTES), nkeys.PREFIX_BYTE_USER).decode())


def seed_file(seed: str, party: str) -> str:
    """The text of a party's file."""
    return f"# framemesh party {party}\n{seed}\n"


def _key_pair(seed: str) -> "nkeys.KeyPair":  # type: ignore[name-defined]  # noqa: F821
    import nkeys  # here, because it loads a library of its own, which an open mesh does without

    return nkeys.from_seed(bytearray(seed.encode()))


def _jwt_name(token: str) -> str:
    """Of the user, as whoever made the JWT called it; it is not verified, for the server does that."""
    try:
        claims = token.split(".")[1]
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        name = str(decoded.get("name", ""))
    except (IndexError, ValueError, AttributeError):
        return ""
    return name if re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) else ""
