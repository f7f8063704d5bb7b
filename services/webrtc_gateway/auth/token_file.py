"""Tokens that are kept in a file: YAML or JSON, a list of who may do what.

- {name: wall, token: 4fS…, streams: ["*"], actions: [view]}
- {name: line, sha256: 9f86d0…, streams: [line-*], actions: [view, control]}
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from schemas.errors import BadRequest
from schemas.tokens import Actions, StreamPatterns, TokenName
from services.webrtc_gateway.auth.grant import Grant
from shared.private_file import read_private

MAX_ENTRIES = 256  # every one is compared with what comes
MIN_TOKEN_CHARACTERS = 20  # of 64 different ones that is 120 bits: nobody guesses it at the rate of a network
# What a header and a WebSocket's subprotocol carry as it is (RFC 6750 b64token without `/`, `=` and `+`).
TOKEN_PATTERN = rf"^[A-Za-z0-9._~-]{{{MIN_TOKEN_CHARACTERS},512}}$(?!\n)"
FILE_IDENTITY = "file:"
"""How identities of the file begin; those of signed tokens begin with their key's fingerprint."""
_WHAT = "tokens file"


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One token: itself, or its SHA-256, so that the file alone opens nothing."""

    name: TokenName
    token: Annotated[str, Meta(pattern=TOKEN_PATTERN)] | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$(?!\n)")] | None = None
    streams: StreamPatterns
    actions: Actions


@dataclass(frozen=True)
class TokenList:
    """Every token of the file, as hashes."""

    entries: tuple[tuple[bytes, Grant], ...] = ()

    def find(self, token: str) -> Grant | None:
        """Takes as long for a token that is nearly right as for any other."""
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for known, grant in self.entries:
            if hmac.compare_digest(known, digest):
                found = grant
        return found

    def of_identity(self, identity: str) -> Grant | None:
        return next((grant for _, grant in self.entries if grant.identity == identity), None)


def read_tokens(path: Path) -> TokenList:
    """Read the file.

    Raises:
        NotFound: there is none.
        BadRequest: others may read or change it, or it is malformed; names entry and field, never a token.
    """
    text = read_private(path, _WHAT)
    try:
        listed: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise BadRequest(f"{_WHAT} {str(path)!r}: not YAML{where}") from None
    except RecursionError:
        raise BadRequest(f"{_WHAT} {str(path)!r}: brackets in brackets without end") from None
    # What YAML takes for a date or a number and cannot make one of: the library lets its own error through.
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError):
        raise BadRequest(f"{_WHAT} {str(path)!r}: a value without quotes is no date or number; put quotes") from None
    if listed is None:
        listed = []
    if not isinstance(listed, list) or len(listed) > MAX_ENTRIES:
        raise BadRequest(f"{_WHAT} {str(path)!r}: give a list of at most {MAX_ENTRIES} entries")
    entries: list[tuple[bytes, Grant]] = []
    for number, item in enumerate(listed, 1):
        entry = _entry(item, f"{_WHAT} {str(path)!r}, entry {number}")
        plain = entry.token is not None
        digest = hashlib.sha256(entry.token.encode()).digest() if entry.token else bytes.fromhex(entry.sha256 or "")
        if any(known == digest for known, _ in entries):
            raise BadRequest(f"{_WHAT} {str(path)!r}, entry {number}: this {'token' if plain else 'sha256'} was given")
        # Of the hash's hash: what is in logs and cookies must not be what the file has.
        identity = f"{FILE_IDENTITY}{hashlib.sha256(digest).hexdigest()[:16]}"
        entries.append((digest, Grant(entry.name, identity, entry.streams, frozenset(entry.actions))))
    return TokenList(tuple(entries))


def _entry(item: object, where: str) -> TokenEntry:
    try:
        entry = msgspec.convert(item, TokenEntry)
    except msgspec.ValidationError as error:
        text, _, field = str(error).partition(" - at `$")
        text = re.sub(r"'.*'", "given", text)  # whatever stands in the wrong place may be the token
        if field.startswith(".token"):
            text = f"give {MIN_TOKEN_CHARACTERS} to 512 of A-Z, a-z, 0-9 and . _ ~ -, in quotes"
        raise BadRequest(f"{where}{': ' + field.strip('.`') if field else ''}: {text}") from None
    if (entry.token is None) == (entry.sha256 is None):
        raise BadRequest(f"{where}: give either token or sha256")
    return entry
