"""Saying no in HTTP's words: 401 with how to come back, 403 with the scope that is missing (RFC 6750 section 3)."""

from schemas.errors import MeshError
from schemas.tokens import ANY_STREAM, Action
from services.webrtc_gateway.auth.grant import Grant

REALM = "framemesh"


class Unauthorized(MeshError, PermissionError):
    """Nobody we know asks; `description` is empty when no token came at all."""

    code = 401

    def __init__(self, description: str = "") -> None:
        self.description = description
        super().__init__(
            f"the token is not taken: {description}" if description else "send a token as Authorization: Bearer …"
        )

    @property
    def challenge(self) -> str:
        """For WWW-Authenticate."""
        why = f', error="invalid_token", error_description="{self.description}"' if self.description else ""
        return f'Bearer realm="{REALM}"{why}'


class Forbidden(MeshError, PermissionError):
    """The token is good, but not for this; `scope` is what it lacks: `control:cam0`."""

    code = 403

    def __init__(self, message: str, scope: str) -> None:
        self.scope = scope
        super().__init__(message)

    @property
    def challenge(self) -> str:
        """For WWW-Authenticate."""
        return f'Bearer realm="{REALM}", error="insufficient_scope", scope="{self.scope}"'


def require(grant: Grant, action: Action, stream: str | None) -> None:
    """`stream` None: all streams.

    Raises:
        Forbidden: `grant` is not for that.
    """
    if grant.may(action, stream):
        return
    scope = f"{action}:{stream or ANY_STREAM}"
    of = f"stream {stream}" if stream else "all streams"
    raise Forbidden(f"this token is not for action {action} of {of}; ask for one with scope {scope}", scope)
