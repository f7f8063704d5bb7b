"""Who holds a token: looked up in the tokens file, or told by its signature."""

import hashlib

from services.webrtc_gateway.auth.denials import Unauthorized
from services.webrtc_gateway.auth.grant import Grant
from services.webrtc_gateway.auth.token_file import FILE_IDENTITY, TokenList
from shared.tokens import MAX_TOKEN_CHARACTERS, TokenKey, TokenRefused, verify


class Tokens:
    """What is believed just now; `known` and `key` are replaced when their files change."""

    def __init__(self, known: TokenList | None = None, key: TokenKey | None = None, audience: str = "") -> None:
        self.known, self.key = known, key
        self._audience = audience

    @property
    def configured(self) -> bool:
        """False: there are none, and the door stands open. An empty file keeps it shut."""
        return self.known is not None or self.key is not None

    def grant(self, token: str) -> Grant:
        """The rights of whoever holds `token`.

        Raises:
            Unauthorized: we do not know it, or its time is not now.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthorized("it is too long")
        if self.known is not None and (found := self.known.find(token)) is not None:
            return found
        if self.key is None or token.count(".") != 2:
            raise Unauthorized("it is not known here")
        try:
            claims = verify(token, self.key, self._audience)
        except TokenRefused as refused:
            raise Unauthorized(str(refused)) from None
        mark = hashlib.sha256(token.encode()).hexdigest()[:16]
        return Grant(
            name=claims.sub or f"token-{mark[:6]}",
            identity=f"{self.key.fingerprint}:{claims.sub or mark}",
            streams=claims.streams,
            actions=frozenset(claims.actions),
            expires_s=claims.exp,
        )

    def still(self, grant: Grant) -> Grant | None:
        """What is left of rights that were given earlier: those of the file as it is now; of a signed token nothing
        once its key was replaced."""
        if self.known is not None and (found := self.known.of_identity(grant.identity)) is not None:
            return found
        signed = self.key is not None and grant.identity.startswith(f"{self.key.fingerprint}:")
        return grant if signed and grant.left_seconds else None

    def withdrawn(self, grant: Grant, stream: str) -> bool:
        """Whether what was opened with these rights must end: the token is no longer in the file, or not for this
        stream, or its key was replaced. That it has expired is no reason: it was good when it was used."""
        if grant.identity.startswith(FILE_IDENTITY):
            found = self.known.of_identity(grant.identity) if self.known is not None else None
            return found is None or not found.covers(stream) or not grant.actions <= found.actions
        return self.key is None or not grant.identity.startswith(f"{self.key.fingerprint}:")
